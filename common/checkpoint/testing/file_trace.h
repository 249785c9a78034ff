// What saves do to a disk, in order, and what a power cut leaves of it.
#ifndef SOTTO_COMMON_CHECKPOINT_TESTING_FILE_TRACE_H_
#define SOTTO_COMMON_CHECKPOINT_TESTING_FILE_TRACE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/mutex.h"
#include "common/checkpoint/testing/forwarding_files.h"

namespace sotto::checkpoint {

struct FileOperation {
  enum class Kind { kMakeFolder, kCreate, kReserve, kWrite, kSync, kRename, kRemove, kSyncFolder };
  Kind kind;
  std::string path;   // of the file; kRename: the old name
  std::string bytes;  // kWrite: what was written; kRename: the new name
  int64_t begin = 0;  // kWrite: of its first byte in the file; kReserve: how long the file is made
  int opened = 0;     // kReserve, kWrite, kSync: which opening of a file it went through
};

std::string ToString(const FileOperation& operation);

// Does everything and writes it down. Thread-safe.
class RecordingFiles : public ForwardingFiles {
 public:
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

  std::vector<FileOperation> trace() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Opening {
    std::string path;
    int number = 0;
    int64_t end = 0;  // where the next Write goes
  };

  void Add(FileOperation::Kind kind, const std::string& path, absl::string_view bytes = "")
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Of an open file. A kWrite without a place is behind the last one.
  void AddTo(int file, FileOperation::Kind kind, absl::string_view bytes = "",
             std::optional<int64_t> begin = std::nullopt) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remember(int file, const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);

  mutable Mutex mutex_;
  std::vector<FileOperation> trace_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Opening> open_ ABSL_GUARDED_BY(mutex_);  // by descriptor
  int openings_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What of the unsynced names a power cut spares. Bytes that were not synced by the opening that
// wrote them are always lost, or torn: kept to their half, the earlier one.
struct PowerCut {
  // Bit i: the i-th of the changes of names that no SyncFolder followed reached the disk. Later
  // bits: as the last one.
  unsigned long long names = 0;
  bool torn = false;
};

// The files that a disk holds, by path, when the power is cut after `done`; folders end with a
// slash.
std::map<std::string, std::string> AfterPowerCut(absl::Span<const FileOperation> done,
                                                 const PowerCut& cut);

// The power cuts after `done` that are worth a look, whole and torn: all subsets of a few unsynced
// changes of names; of many: none, all, the first ones, all but one, one.
std::vector<PowerCut> PowerCuts(absl::Span<const FileOperation> done);

// Makes the files under `root`, whose own path the trace's paths begin with `recorded_root`.
absl::Status Materialise(const std::map<std::string, std::string>& disk,
                         const std::string& recorded_root, const std::string& root);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_TESTING_FILE_TRACE_H_
