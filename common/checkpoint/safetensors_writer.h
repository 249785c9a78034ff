// Writes a safetensors file of fp32 tensors, piece by piece.
#ifndef SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_
#define SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/fd.h"
#include "common/crypto/sha256.h"

namespace sotto::checkpoint {

struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
};

// Tensors are declared at the start and then written in that order, in any number of pieces.
// Externally synchronised.
class SafetensorsWriter {
 public:
  // Creates or empties the file and writes the header. INVALID_ARGUMENT: duplicate names.
  // UNAVAILABLE: the disk.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::string& path, absl::Span<const TensorShape> tensors,
      const std::map<std::string, std::string>& metadata);

  // The next elements. INVALID_ARGUMENT: more than declared.
  absl::Status Append(absl::Span<const float> values);

  // Syncs and closes the file, returns its SHA-256 (hex). FAILED_PRECONDITION: fewer elements than
  // declared.
  absl::StatusOr<std::string> Finish();

  int64_t bytes_written() const { return bytes_written_; }

 private:
  SafetensorsWriter(UniqueFd file, int64_t remaining)
      : file_(std::move(file)), remaining_elements_(remaining) {}

  absl::Status Write(const void* bytes, size_t count);

  UniqueFd file_;
  crypto::Sha256 hash_;
  int64_t remaining_elements_;
  int64_t bytes_written_ = 0;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_SAFETENSORS_WRITER_H_
