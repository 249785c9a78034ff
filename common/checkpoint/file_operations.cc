#include "common/checkpoint/file_operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::checkpoint {
namespace {

namespace fs = std::filesystem;

absl::Status DiskError(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::UnavailableError(status.message());
}

absl::Status Errno(absl::string_view what, const std::string& path) {
  return DiskError(absl::ErrnoToStatus(errno, absl::StrCat(what, " ", path)));
}

absl::StatusOr<UniqueFd> OpenOnDisk(const std::string& path, int flags) {
  absl::StatusOr<UniqueFd> file = OpenFile(path, flags, 0644);
  if (!file.ok()) return DiskError(file.status());
  return file;
}

}  // namespace

DiskOperations& DiskOperations::Get() {
  static DiskOperations operations;
  return operations;
}

absl::Status DiskOperations::MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) == 0) return absl::OkStatus();
  const int error = errno;
  std::error_code ignored;
  if (error == EEXIST && fs::is_directory(path, ignored)) return absl::OkStatus();
  errno = error;
  return Errno("cannot create", path);
}

absl::StatusOr<UniqueFd> DiskOperations::Create(const std::string& path) {
  return OpenOnDisk(path, O_WRONLY | O_CREAT | O_TRUNC);
}

absl::StatusOr<UniqueFd> DiskOperations::Open(const std::string& path) {
  return OpenOnDisk(path, O_WRONLY);
}

absl::Status DiskOperations::Reserve(int file, int64_t bytes) {
  int error = 0;
  do {
    error = posix_fallocate(file, 0, bytes);
  } while (error == EINTR);
  if (error == 0) return absl::OkStatus();
  return DiskError(absl::ErrnoToStatus(error, absl::StrCat("cannot reserve ", bytes, " bytes")));
}

absl::Status DiskOperations::Write(int file, absl::string_view bytes) {
  return DiskError(WriteAll(file, bytes));
}

absl::Status DiskOperations::WriteAt(int file, int64_t begin, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file, bytes.data(), bytes.size(), begin);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return DiskError(absl::ErrnoToStatus(errno, "cannot write"));
    bytes.remove_prefix(written);
    begin += written;
  }
  return absl::OkStatus();
}

absl::Status DiskOperations::Sync(int file) {
  if (fsync(file) == 0) return absl::OkStatus();
  return DiskError(absl::ErrnoToStatus(errno, "cannot sync a file"));
}

absl::Status DiskOperations::Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return Errno("cannot name", to);
}

absl::Status DiskOperations::Remove(const std::string& path) {
  if (remove(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return Errno("cannot remove", path);
}

absl::Status DiskOperations::SyncFolder(const std::string& path) {
  return DiskError(sotto::SyncFolder(path));
}

absl::Status MakeFolders(FileOperations& files, const std::string& path) {
  std::error_code ignored;  // What cannot be seen is made, or fails to be.
  if (path.empty() || fs::is_directory(path, ignored)) return absl::OkStatus();
  const std::string parent = FolderOf(path);
  RETURN_IF_ERROR(MakeFolders(files, parent));
  RETURN_IF_ERROR(files.MakeFolder(path));
  return files.SyncFolder(parent);
}

absl::Status RemoveTree(FileOperations& files, const std::string& path) {
  std::error_code error;
  std::vector<fs::path> inside;
  if (fs::is_directory(fs::symlink_status(path, error))) {
    for (fs::directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error)) {
      inside.push_back(entry->path());
    }
  }
  for (const fs::path& entry : inside) RETURN_IF_ERROR(RemoveTree(files, entry.string()));
  return files.Remove(path);
}

absl::Status WriteSynced(FileOperations& files, const std::string& path,
                         absl::string_view contents) {
  ASSIGN_OR_RETURN(const UniqueFd file, files.Create(path));
  RETURN_IF_ERROR(files.Write(file.get(), contents));
  return files.Sync(file.get());
}

absl::Status ReplaceFile(FileOperations& files, const std::string& path,
                         absl::string_view contents) {
  const std::string temporary = path + ".tmp";
  RETURN_IF_ERROR(WriteSynced(files, temporary, contents));
  RETURN_IF_ERROR(files.Rename(temporary, path));
  return files.SyncFolder(FolderOf(path));
}

}  // namespace sotto::checkpoint
