// JSON lines, one per prompt, that ranks write apart and that appear together.
#ifndef SOTTO_WORKER_INFER_LINE_OUTPUT_H_
#define SOTTO_WORKER_INFER_LINE_OUTPUT_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/fd.h"
#include "worker/infer/task.h"

namespace sotto::infer {

// The name of a rank's part, after Task::unfinished.
std::string PartPath(const std::string& unfinished, int rank);

// The name of what is put together of them.
std::string MergedPath(const std::string& unfinished);

// Removes the file when it goes, if it is there.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// This rank's lines, in the order of its texts. Errors are the disk's, with the path. Externally
// synchronised.
class LinePart {
 public:
  // Replaces what an earlier attempt left.
  static absl::StatusOr<LinePart> Create(const std::string& path);

  // `line` without its end.
  absl::Status Append(absl::string_view line);

  // Returns once every line is on disk.
  absl::Status Sync();

 private:
  LinePart(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  UniqueFd file_;
};

// Puts the parts of all ranks together in the order of the texts; the output appears by rename,
// after its bytes are on disk. DATA_LOSS: a part has fewer lines than its rank had texts. Else
// errors of GiveName.
absl::Status MergeLines(const Task& task);

// Renames a synced file, durably. ALREADY_EXISTS: something has that name, and may not be replaced.
absl::Status GiveName(const std::string& file, const std::string& name, bool may_replace);

// ALREADY_EXISTS: something of this name is there.
absl::Status CheckIsFree(const std::string& output);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_LINE_OUTPUT_H_
