#include "tests/integration/testing/leftovers.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/files.h"

namespace sotto::integration {
namespace {

// Arguments separated by blanks, with one before the first and after the last.
std::string CommandLine(pid_t pid) {
  absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
  if (!text.ok()) return "";  // It ended.
  std::replace(text->begin(), text->end(), '\0', ' ');
  return absl::StrCat(" ", *text, " ");
}

}  // namespace

std::vector<pid_t> ProcessesWith(const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid) || pid == getpid()) continue;
    if (absl::StrContains(CommandLine(pid), text)) found.push_back(pid);
  }
  return found;
}

bool AwaitEnd(pid_t pid) {
  constexpr int kPatienceMs = 60000;
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.is_valid()) return true;  // It ended already.
  pollfd ended = {.fd = process.get(), .events = POLLIN, .revents = 0};
  return poll(&ended, 1, kPatienceMs) == 1;
}

pid_t FindWorker(const std::string& state_dir, const std::string& job, int rank) {
  pid_t newest = -1;
  for (const pid_t pid : ProcessesWith(state_dir)) {
    const std::string command = CommandLine(pid);
    if (absl::StrContains(command, absl::StrCat(" --job=", job, " ")) &&
        absl::StrContains(command, absl::StrCat(" --rank=", rank, " "))) {
      newest = std::max(newest, pid);
    }
  }
  return newest;
}

std::vector<std::string> NamedSharedMemory() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sotto::integration
