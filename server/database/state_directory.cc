#include "server/database/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::database {
namespace {

constexpr char kLockFile[] = "lock";
constexpr char kAddressFile[] = "address";

absl::Status SystemError(int error, absl::string_view doing, const std::string& path) {
  if (error == EROFS) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot ", doing, " ", path,
                     ": the file system is read-only; the state directory must be writable"));
  }
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", doing, " ", path));
}

// mkdir -p, mode 0700.
absl::Status MakeFolders(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno == ENOENT) {
    const std::string parent = FolderOf(path);
    if (parent != path) {
      RETURN_IF_ERROR(MakeFolders(parent));
      if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
    }
  }
  const int error = errno;
  struct stat info;
  // EROFS and EACCES come before EEXIST on some systems: an existing folder is fine.
  if (stat(path.c_str(), &info) != 0) return SystemError(error, "create", path);
  if (S_ISDIR(info.st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the state directory ", path, " exists and is no directory"));
}

absl::Status LockedError(const std::string& path) {
  const absl::StatusOr<std::string> address = ReadFile(absl::StrCat(path, "/", kAddressFile));
  if (!address.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the state directory ", path,
                     " is in use by a running coordinator that has not published its address yet"));
  }
  return absl::FailedPreconditionError(absl::StrCat("the state directory ", path,
                                                    " is in use by the coordinator at ",
                                                    absl::StripSuffix(*address, "\n")));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDirectory>> StateDirectory::Claim(const std::string& path) {
  RETURN_IF_ERROR(MakeFolders(path));
  const std::string lock_path = absl::StrCat(path, "/", kLockFile);
  UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.is_valid()) return SystemError(errno, "create", lock_path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return LockedError(path);
    return SystemError(errno, "lock", lock_path);
  }
  auto directory = absl::WrapUnique(new StateDirectory(path, std::move(lock)));
  if (unlink(directory->File(kAddressFile).c_str()) != 0 && errno != ENOENT) {
    return SystemError(errno, "remove", directory->File(kAddressFile));
  }
  return directory;
}

StateDirectory::~StateDirectory() { unlink(File(kAddressFile).c_str()); }

std::string StateDirectory::File(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

absl::Status StateDirectory::PublishAddress(absl::string_view address) {
  return AtomicWriteFile(File(kAddressFile), absl::StrCat(address, "\n"));
}

}  // namespace sotto::database
