#include "common/checkpoint/hugging_face_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/stored_floats.h"

namespace sotto::checkpoint {

std::string HuggingFaceName(absl::string_view model_type, absl::string_view parameter) {
  if (parameter == "lm_head.weight") return std::string(parameter);
  return absl::StrCat(model_type == "gpt2" ? "transformer." : "model.", parameter);
}

absl::StatusOr<std::unique_ptr<HuggingFaceWriter>> HuggingFaceWriter::Create(
    Options options, std::vector<TensorShape> tensors) {
  RETURN_IF_ERROR(CheckHoldsFloats(tensors));
  ASSIGN_OR_RETURN(HuggingFaceLayout layout,
                   HuggingFaceLayout::Create(std::move(tensors), options.max_file_bytes));
  std::unique_ptr<HuggingFaceWriter> writer(new HuggingFaceWriter(std::move(layout)));
  ASSIGN_OR_RETURN(writer->folder_,
                   HuggingFaceFolder::Create({.directory = std::move(options.directory),
                                              .config = std::move(options.config),
                                              .copies = std::move(options.copies),
                                              .files = options.files},
                                             writer->layout_));
  writer->part_ =
      std::make_unique<HuggingFacePart>(writer->layout_, writer->folder_->path(), *options.files);
  return writer;
}

HuggingFaceWriter::HuggingFaceWriter(HuggingFaceLayout layout)
    : layout_(std::move(layout)), remaining_(layout_.num_elements()) {}

absl::Status HuggingFaceWriter::Append(absl::Span<const float> values) {
  if (static_cast<int64_t>(values.size()) > remaining_) {
    return absl::InvalidArgumentError(absl::StrCat(
        values.size(), " elements are appended, but only ", remaining_, " are still declared"));
  }
  remaining_ -= static_cast<int64_t>(values.size());
  while (!values.empty()) {
    const int64_t left = layout_.tensors()[tensor_].num_elements() - element_;
    if (left == 0) {
      ++tensor_;
      element_ = 0;
      continue;
    }
    const size_t count = std::min<size_t>(left, values.size());
    RETURN_IF_ERROR(part_->Write(tensor_, element_, values.subspan(0, count)));
    element_ += static_cast<int64_t>(count);
    values.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status HuggingFaceWriter::Finish() {
  if (remaining_ != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(remaining_, " declared elements were not written"));
  }
  RETURN_IF_ERROR(part_->Sync());
  return folder_->Publish();
}

}  // namespace sotto::checkpoint
