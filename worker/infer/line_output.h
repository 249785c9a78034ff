// JSON lines, one per prompt, that ranks write apart and that appear together.
#ifndef SOTTO_WORKER_INFER_LINE_OUTPUT_H_
#define SOTTO_WORKER_INFER_LINE_OUTPUT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/fd.h"
#include "worker/infer/text_groups.h"

namespace sotto::infer {

// The name of a rank's part of `output`, beside it.
std::string PartPath(const std::string& output, int rank);

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

// This rank's lines, in the order of its texts.
class LinePart {
 public:
  // Replaces what an earlier attempt left. The disk's errors, with the path.
  static absl::StatusOr<LinePart> Create(const std::string& path);

  absl::Status Append(absl::string_view line);

  // Syncs the file and gives it its name, durably.
  absl::Status FinishAs(const std::string& name);

 private:
  LinePart(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  UniqueFd file_;
};

// Puts the parts of all ranks together in the order of the texts; `output` appears by rename, after
// its bytes are on disk. DATA_LOSS: a part has fewer lines than its rank had texts.
absl::Status MergeLines(const std::string& output, const TextGroups& groups, int64_t texts,
                        int world_size);

// ALREADY_EXISTS: something of this name is there.
absl::Status CheckIsFree(const std::string& output);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_LINE_OUTPUT_H_
