// What saving does to a disk, so that tests can record, refuse or interrupt it.
#ifndef SOTTO_COMMON_CHECKPOINT_FILE_OPERATIONS_H_
#define SOTTO_COMMON_CHECKPOINT_FILE_OPERATIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/fd.h"

namespace sotto::checkpoint {

// After a power cut only that is certain to be there which was synced: a file's bytes by Sync, the
// names in a folder by SyncFolder of that folder. Thread-safe. UNAVAILABLE, with the path: the
// disk.
class FileOperations {
 public:
  virtual ~FileOperations() = default;

  // OK when there is one already. The parent must be there.
  virtual absl::Status MakeFolder(const std::string& path) = 0;
  // An empty file to write to.
  virtual absl::StatusOr<UniqueFd> Create(const std::string& path) = 0;
  // A file that is there, to write to; its bytes stay.
  virtual absl::StatusOr<UniqueFd> Open(const std::string& path) = 0;
  // Makes an empty file this long, of zeros, and takes the space: no later WriteAt inside finds the
  // disk full. bytes > 0.
  virtual absl::Status Reserve(int file, int64_t bytes) = 0;
  // Appends.
  virtual absl::Status Write(int file, absl::string_view bytes) = 0;
  // Replaces what lies from byte `begin` on; for files that nothing is appended to.
  virtual absl::Status WriteAt(int file, int64_t begin, absl::string_view bytes) = 0;
  // What this descriptor wrote; what others wrote to the file may stay out of it.
  virtual absl::Status Sync(int file) = 0;
  // Replaces a file, or an empty folder, of the new name.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // A file or an empty folder. OK when there is none.
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status SyncFolder(const std::string& path) = 0;
};

// The operating system's.
class DiskOperations final : public FileOperations {
 public:
  // A process-wide instance (it has no state).
  static DiskOperations& Get();

  absl::Status MakeFolder(const std::string& path) override;
  absl::StatusOr<UniqueFd> Create(const std::string& path) override;
  absl::StatusOr<UniqueFd> Open(const std::string& path) override;
  absl::Status Reserve(int file, int64_t bytes) override;
  absl::Status Write(int file, absl::string_view bytes) override;
  absl::Status WriteAt(int file, int64_t begin, absl::string_view bytes) override;
  absl::Status Sync(int file) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncFolder(const std::string& path) override;
};

// Makes the folder and those above it that are missing, durably.
absl::Status MakeFolders(FileOperations& files, const std::string& path);

// Removes a folder with all that is in it. OK when there is none.
absl::Status RemoveTree(FileOperations& files, const std::string& path);

// Creates, writes and syncs one file; its name is not durable before SyncFolder.
absl::Status WriteSynced(FileOperations& files, const std::string& path,
                         absl::string_view contents);

// Replaces `path` so that after a power cut it is wholly the old or wholly the new one, and after
// an OK return the new one.
absl::Status ReplaceFile(FileOperations& files, const std::string& path,
                         absl::string_view contents);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_FILE_OPERATIONS_H_
