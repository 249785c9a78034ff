#include "common/checkpoint/safetensors_layout.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/safetensors_header.h"

namespace sotto::checkpoint {

int64_t TensorShape::num_elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

int64_t TensorShape::num_bytes() const { return num_elements() * ItemBytes(dtype); }

absl::StatusOr<SafetensorsLayout> LayOutSafetensors(
    absl::Span<const TensorShape> tensors, const std::map<std::string, std::string>& metadata) {
  SafetensorsHeader header;
  header.metadata = metadata;
  std::set<std::string> names;
  uint64_t position = 0;
  for (const TensorShape& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor.name, " is declared twice"));
    }
    if (ItemBytes(tensor.dtype) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", tensor.name, " has a dtype that is not known: ", tensor.dtype));
    }
    SafetensorsEntry entry = {.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
    entry.begin = position;
    position += static_cast<uint64_t>(tensor.num_bytes());
    entry.end = position;
    header.entries.push_back(std::move(entry));
  }
  const std::string text = FormatSafetensorsHeader(header);
  const uint64_t length = text.size();
  SafetensorsLayout layout;
  // Little-endian, as x86 is.
  layout.head.assign(reinterpret_cast<const char*>(&length), sizeof(length));
  layout.head += text;
  const int64_t data_begin = static_cast<int64_t>(layout.head.size());
  for (const SafetensorsEntry& entry : header.entries) {
    layout.begins.push_back(data_begin + static_cast<int64_t>(entry.begin));
  }
  layout.bytes = data_begin + static_cast<int64_t>(position);
  return layout;
}

}  // namespace sotto::checkpoint
