#include "common/checkpoint/hugging_face_layout.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::checkpoint {
namespace {

// How many tensors each file holds.
std::vector<size_t> Divide(absl::Span<const TensorShape> tensors, int64_t max_bytes) {
  std::vector<size_t> counts(1);
  int64_t bytes = 0;
  for (const TensorShape& tensor : tensors) {
    if (max_bytes > 0 && counts.back() > 0 && bytes + tensor.num_bytes() > max_bytes) {
      counts.push_back(0);
      bytes = 0;
    }
    bytes += tensor.num_bytes();
    ++counts.back();
  }
  return counts;
}

}  // namespace

absl::StatusOr<HuggingFaceLayout> HuggingFaceLayout::Create(std::vector<TensorShape> tensors,
                                                            int64_t max_file_bytes) {
  HuggingFaceLayout layout;
  layout.tensors_ = std::move(tensors);
  const std::vector<size_t> counts = Divide(layout.tensors_, max_file_bytes);
  absl::Span<const TensorShape> left = layout.tensors_;
  for (size_t i = 0; i < counts.size(); ++i) {
    ASSIGN_OR_RETURN(SafetensorsLayout file,
                     LayOutSafetensors(left.subspan(0, counts[i]), {{"format", "pt"}}));
    left.remove_prefix(counts[i]);
    for (const int64_t begin : file.begins) {
      layout.places_.push_back({.file = static_cast<int>(i), .begin = begin});
    }
    layout.files_.push_back(
        {.name = counts.size() == 1
                     ? "model.safetensors"
                     : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, counts.size()),
         .head = std::move(file.head),
         .bytes = file.bytes});
  }
  return layout;
}

int64_t HuggingFaceLayout::num_elements() const {
  int64_t elements = 0;
  for (const TensorShape& tensor : tensors_) elements += tensor.num_elements();
  return elements;
}

int64_t HuggingFaceLayout::num_bytes() const {
  int64_t bytes = 0;
  for (const TensorShape& tensor : tensors_) bytes += tensor.num_bytes();
  return bytes;
}

std::string HuggingFaceLayout::FormatIndex() const {
  nlohmann::ordered_json places = nlohmann::ordered_json::object();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    places[tensors_[i].name] = files_[places_[i].file].name;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", num_bytes()}}},
                                        {"weight_map", places}};
  return index.dump(2) + "\n";
}

}  // namespace sotto::checkpoint
