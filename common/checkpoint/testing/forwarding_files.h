// File operations that pass everything on, for those that watch or disturb a few.
#ifndef SOTTO_COMMON_CHECKPOINT_TESTING_FORWARDING_FILES_H_
#define SOTTO_COMMON_CHECKPOINT_TESTING_FORWARDING_FILES_H_

#include <cstdint>
#include <string>

#include "common/checkpoint/file_operations.h"

namespace sotto::checkpoint {

// To the disk.
class ForwardingFiles : public FileOperations {
 public:
  absl::Status MakeFolder(const std::string& path) override { return disk_.MakeFolder(path); }
  absl::StatusOr<UniqueFd> Create(const std::string& path) override { return disk_.Create(path); }
  absl::StatusOr<UniqueFd> Open(const std::string& path) override { return disk_.Open(path); }
  absl::Status Reserve(int file, int64_t bytes) override { return disk_.Reserve(file, bytes); }
  absl::Status Write(int file, absl::string_view bytes) override {
    return disk_.Write(file, bytes);
  }
  absl::Status WriteAt(int file, int64_t begin, absl::string_view bytes) override {
    return disk_.WriteAt(file, begin, bytes);
  }
  absl::Status Sync(int file) override { return disk_.Sync(file); }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return disk_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override { return disk_.Remove(path); }
  absl::Status SyncFolder(const std::string& path) override { return disk_.SyncFolder(path); }

 private:
  DiskOperations disk_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_TESTING_FORWARDING_FILES_H_
