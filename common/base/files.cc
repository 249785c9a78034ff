#include "common/base/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/status_macros.h"
#include "common/base/with_path.h"

namespace sotto {
namespace {

// Writes and syncs the open temporary file, and gives it its final name.
absl::Status FinishFile(UniqueFd fd, const std::string& temporary, const std::string& path,
                        absl::string_view contents, int mode) {
  RETURN_IF_ERROR(WithPath(WriteAll(fd.get(), contents), path));
  if (fchmod(fd.get(), mode) != 0 || fsync(fd.get()) != 0 || close(fd.Release()) != 0 ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDONLY));
  absl::StatusOr<std::string> contents = ReadAll(fd.get());
  if (!contents.ok()) return WithPath(contents.status(), path);
  return contents;
}

absl::Status AtomicWriteFile(const std::string& path, absl::string_view contents, int mode) {
  std::string temporary = path + ".tmp-XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.is_valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  const absl::Status status = FinishFile(std::move(fd), temporary, path, contents, mode);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(FolderOf(path));
}

absl::Status SyncFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(folder, O_RDONLY | O_DIRECTORY));
  if (fsync(fd.get()) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot sync ", folder));
  return absl::OkStatus();
}

absl::StatusOr<std::string> MakeTempDir(const std::string& prefix) {
  std::string path = prefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create a folder ", path));
  }
  return path;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace sotto
