#include "server/launcher/process_identity.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::launcher {

absl::StatusOr<std::string> ReadBootId() {
  ASSIGN_OR_RETURN(std::string text, ReadFile("/proc/sys/kernel/random/boot_id"));
  return std::string(absl::StripSuffix(text, "\n"));
}

absl::StatusOr<uint64_t> ReadStartTime(pid_t pid) {
  absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  if (!text.ok()) return absl::NotFoundError(absl::StrCat("no process ", pid));
  // Field 2 is the name in parentheses and may hold anything, so fields count from the last
  // parenthesis.
  const size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return absl::InternalError("/proc/PID/stat has no name");
  const std::vector<std::string> fields =
      absl::StrSplit(text->substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kStartTime = 22 - 3;  // fields[0] is field 3.
  uint64_t start_time = 0;
  if (fields.size() <= kStartTime || !absl::SimpleAtoi(fields[kStartTime], &start_time)) {
    return absl::InternalError("/proc/PID/stat has no start time");
  }
  return start_time;
}

absl::StatusOr<UniqueFd> OpenProcess(const WorkerProcess& process) {
  const absl::Status gone = absl::NotFoundError(absl::StrCat("process ", process.pid, " is gone"));
  ASSIGN_OR_RETURN(const std::string boot_id, ReadBootId());
  if (boot_id != process.boot_id) return gone;
  UniqueFd descriptor(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!descriptor.is_valid()) {
    if (errno == ESRCH) return gone;
    return absl::ErrnoToStatus(errno, absl::StrCat("pidfd_open of process ", process.pid));
  }
  const absl::StatusOr<uint64_t> start_time = ReadStartTime(process.pid);
  if (!start_time.ok() || *start_time != process.start_time) return gone;
  return descriptor;
}

}  // namespace sotto::launcher
