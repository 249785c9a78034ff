#include "common/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/with_path.h"
#include "common/checkpoint/stored_floats.h"

namespace sotto::checkpoint {
absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, absl::Span<const TensorShape> tensors,
    const std::map<std::string, std::string>& metadata, FileOperations& files) {
  RETURN_IF_ERROR(CheckHoldsFloats(tensors));
  ASSIGN_OR_RETURN(const SafetensorsLayout layout, LayOutSafetensors(tensors, metadata));
  std::vector<Run> runs;
  for (const TensorShape& tensor : tensors) {
    if (runs.empty() || runs.back().dtype != tensor.dtype) runs.push_back({tensor.dtype, 0});
    runs.back().elements += tensor.num_elements();
  }

  ASSIGN_OR_RETURN(UniqueFd file, files.Create(path));
  SafetensorsWriter writer(path, std::move(file), files, std::move(runs));
  RETURN_IF_ERROR(writer.Write(layout.head));
  return writer;
}

absl::Status SafetensorsWriter::Append(absl::Span<const float> values) {
  const int64_t remaining = CountRemaining();
  if (static_cast<int64_t>(values.size()) > remaining) {
    return absl::InvalidArgumentError(absl::StrCat(
        values.size(), " elements are appended, but only ", remaining, " are still declared"));
  }
  while (!values.empty()) {
    Run& run = runs_[run_];
    if (run.elements == 0) {
      ++run_;
      continue;
    }
    const int64_t count = std::min<int64_t>(run.elements, values.size());
    RETURN_IF_ERROR(ForEachStoredPiece(run.dtype, values.subspan(0, count),
                                       [this](absl::string_view bytes) { return Write(bytes); }));
    run.elements -= count;
    values.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SafetensorsWriter::Finish() {
  if (const int64_t remaining = CountRemaining(); remaining != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(remaining, " declared elements were not written"));
  }
  RETURN_IF_ERROR(WithPath(files_->Sync(file_.get()), path_));
  file_.Reset();
  return crypto::HexOf(hash_.Finish());
}

absl::Status SafetensorsWriter::Write(absl::string_view bytes) {
  hash_.Update(bytes);
  RETURN_IF_ERROR(WithPath(files_->Write(file_.get(), bytes), path_));
  bytes_written_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

int64_t SafetensorsWriter::CountRemaining() const {
  int64_t remaining = 0;
  for (const Run& run : runs_) remaining += run.elements;
  return remaining;
}

}  // namespace sotto::checkpoint
