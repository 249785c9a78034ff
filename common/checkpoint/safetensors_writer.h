// Writes a safetensors file of floating-point tensors, piece by piece.
#ifndef SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_
#define SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/fd.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/safetensors_layout.h"
#include "common/crypto/sha256.h"

namespace sotto::checkpoint {

// Tensors are declared at the start and then written in that order, in any number of pieces.
// UNAVAILABLE, with the path, of every function: the disk. Externally synchronised.
class SafetensorsWriter {
 public:
  // Creates or empties the file and writes the header. INVALID_ARGUMENT, naming the tensor:
  // duplicate names, a dtype other than F32, BF16 and F16. `files` is borrowed.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::string& path, absl::Span<const TensorShape> tensors,
      const std::map<std::string, std::string>& metadata,
      FileOperations& files = DiskOperations::Get());

  // The next elements, rounded to their tensor's dtype. INVALID_ARGUMENT: more than declared.
  absl::Status Append(absl::Span<const float> values);

  // Syncs and closes the file, returns its SHA-256 (hex). FAILED_PRECONDITION: fewer elements than
  // declared.
  absl::StatusOr<std::string> Finish();

  int64_t bytes_written() const { return bytes_written_; }

 private:
  // Elements that are still to come, all of one dtype.
  struct Run {
    std::string dtype;
    int64_t elements = 0;
  };

  SafetensorsWriter(std::string path, UniqueFd file, FileOperations& files, std::vector<Run> runs)
      : path_(std::move(path)), file_(std::move(file)), files_(&files), runs_(std::move(runs)) {}

  absl::Status Write(absl::string_view bytes);
  int64_t CountRemaining() const;

  std::string path_;
  UniqueFd file_;
  FileOperations* files_;
  crypto::Sha256 hash_;
  std::vector<Run> runs_;
  size_t run_ = 0;  // the one that is being written
  int64_t bytes_written_ = 0;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_
