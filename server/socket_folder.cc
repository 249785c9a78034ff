#include "server/socket_folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto {
namespace {

constexpr char kPrefix[] = "/tmp/sotto-";

// Where others may write, a name is no proof of ownership.
bool IsOurs(const std::string& folder) {
  struct stat status;
  return lstat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == geteuid() && (status.st_mode & 0777) == 0700;
}

bool CanBeUsedAgain(const std::string& folder) {
  if (!absl::StartsWith(folder, kPrefix) ||
      folder.find('/', sizeof(kPrefix) - 1) != std::string::npos)
    return false;
  if (IsOurs(folder)) return true;
  // A cleaner of /tmp took it; mkdir fails when somebody else has the name now.
  return mkdir(folder.c_str(), 0700) == 0;
}

}  // namespace

absl::StatusOr<SocketFolder> ClaimSocketFolder(const std::string& state_dir) {
  const std::string memory = state_dir + "/socket_folder";
  const absl::StatusOr<std::string> known = ReadFile(memory);
  if (known.ok() && CanBeUsedAgain(*known)) return SocketFolder{*known, /*is_new=*/false};
  ASSIGN_OR_RETURN(const std::string folder, MakeTempDir(kPrefix));
  const absl::Status written = AtomicWriteFile(memory, folder);
  if (!written.ok()) {
    rmdir(folder.c_str());
    return written;
  }
  return SocketFolder{folder, /*is_new=*/true};
}

void RemoveSocketFolder(const std::string& folder) {
  std::error_code ignored;  // What is left is used again by the next coordinator.
  std::filesystem::remove_all(folder, ignored);
}

}  // namespace sotto
