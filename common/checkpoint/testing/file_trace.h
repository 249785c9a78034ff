// What saves do to a disk, in order, and what a power cut leaves of it.
#ifndef SOTTO_COMMON_CHECKPOINT_TESTING_FILE_TRACE_H_
#define SOTTO_COMMON_CHECKPOINT_TESTING_FILE_TRACE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/mutex.h"
#include "common/checkpoint/testing/forwarding_files.h"

namespace sotto::checkpoint {

struct FileOperation {
  enum class Kind { kMakeFolder, kCreate, kWrite, kSync, kRename, kRemove, kSyncFolder };
  Kind kind;
  std::string path;   // of the file; kRename: the old name
  std::string bytes;  // kWrite: what was written; kRename: the new name
};

std::string ToString(const FileOperation& operation);

// Does everything and writes it down. Thread-safe.
class RecordingFiles : public ForwardingFiles {
 public:
  absl::Status MakeFolder(const std::string& path) override;
  absl::StatusOr<UniqueFd> Create(const std::string& path) override;
  absl::Status Write(int file, absl::string_view bytes) override;
  absl::Status Sync(int file) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncFolder(const std::string& path) override;

  std::vector<FileOperation> trace() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Add(FileOperation::Kind kind, const std::string& path, absl::string_view bytes = "")
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::string PathOf(int file) ABSL_LOCKS_EXCLUDED(mutex_);

  mutable Mutex mutex_;
  std::vector<FileOperation> trace_ ABSL_GUARDED_BY(mutex_);
  std::map<int, std::string> open_ ABSL_GUARDED_BY(mutex_);  // by descriptor
};

// What of the unsynced names a power cut spares. Bytes that were not synced are always lost, or
// torn: kept to their half.
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
