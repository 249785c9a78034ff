// Where the tensors of a safetensors file lie that is still to be written.
#ifndef SOTTO_COMMON_CHECKPOINT_SAFETENSORS_LAYOUT_H_
#define SOTTO_COMMON_CHECKPOINT_SAFETENSORS_LAYOUT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sotto::checkpoint {

struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype = "F32";

  int64_t num_elements() const;
  int64_t num_bytes() const;
};

struct SafetensorsLayout {
  std::string head;             // length and text of the header: the file's first bytes
  std::vector<int64_t> begins;  // by tensor: its first byte in the file
  int64_t bytes = 0;            // of the file
};

// One tensor after the other, in their order. INVALID_ARGUMENT, naming the tensor: two of one name,
// a dtype that is not known.
absl::StatusOr<SafetensorsLayout> LayOutSafetensors(
    absl::Span<const TensorShape> tensors, const std::map<std::string, std::string>& metadata);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_SAFETENSORS_LAYOUT_H_
