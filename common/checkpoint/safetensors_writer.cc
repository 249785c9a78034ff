#include "common/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/half_floats.h"
#include "common/checkpoint/safetensors_header.h"

namespace sotto::checkpoint {
namespace {

// Values converted at once: 128 kB of them stay in the cache.
constexpr size_t kPieceElements = 1 << 16;

// Tensors one after the other, in the order of `tensors`.
absl::StatusOr<SafetensorsHeader> PlaceTensors(absl::Span<const TensorShape> tensors) {
  SafetensorsHeader header;
  std::set<std::string> names;
  uint64_t position = 0;
  for (const TensorShape& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor.name, " is declared twice"));
    }
    if (tensor.dtype != "F32" && tensor.dtype != "BF16" && tensor.dtype != "F16") {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", tensor.name, " must be F32, BF16 or F16, but is ", tensor.dtype));
    }
    SafetensorsEntry entry = {.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
    entry.begin = position;
    position += static_cast<uint64_t>(entry.num_elements()) * ItemBytes(tensor.dtype);
    entry.end = position;
    header.entries.push_back(std::move(entry));
  }
  return header;
}

}  // namespace

int64_t TensorShape::num_elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, absl::Span<const TensorShape> tensors,
    const std::map<std::string, std::string>& metadata, FileOperations& files) {
  ASSIGN_OR_RETURN(SafetensorsHeader header, PlaceTensors(tensors));
  header.metadata = metadata;
  const std::string text = FormatSafetensorsHeader(header);
  std::vector<Run> runs;
  for (const TensorShape& tensor : tensors) {
    if (runs.empty() || runs.back().dtype != tensor.dtype) runs.push_back({tensor.dtype, 0});
    runs.back().elements += tensor.num_elements();
  }

  ASSIGN_OR_RETURN(UniqueFd file, files.Create(path));
  SafetensorsWriter writer(std::move(file), files, std::move(runs));
  const uint64_t length = text.size();
  RETURN_IF_ERROR(writer.Write(&length, sizeof(length)));  // Little-endian, as x86 is.
  RETURN_IF_ERROR(writer.Write(text.data(), text.size()));
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
    const absl::Span<const float> part = values.subspan(0, count);
    if (run.dtype == "F32") RETURN_IF_ERROR(Write(part.data(), count * sizeof(float)));
    if (run.dtype == "BF16") RETURN_IF_ERROR(WriteHalves(part, Bfloat16OfFloat));
    if (run.dtype == "F16") RETURN_IF_ERROR(WriteHalves(part, Float16OfFloat));
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
  RETURN_IF_ERROR(files_->Sync(file_.get()));
  file_.Reset();
  return crypto::HexOf(hash_.Finish());
}

absl::Status SafetensorsWriter::Write(const void* bytes, size_t count) {
  const absl::string_view text(static_cast<const char*>(bytes), count);
  hash_.Update(text);
  RETURN_IF_ERROR(files_->Write(file_.get(), text));
  bytes_written_ += static_cast<int64_t>(count);
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::WriteHalves(absl::Span<const float> values,
                                            uint16_t (*half_of)(float)) {
  std::vector<uint16_t> halves;
  while (!values.empty()) {
    const absl::Span<const float> piece = values.subspan(0, kPieceElements);
    halves.resize(piece.size());
    std::transform(piece.begin(), piece.end(), halves.begin(), half_of);
    RETURN_IF_ERROR(Write(halves.data(), halves.size() * sizeof(uint16_t)));
    values.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

int64_t SafetensorsWriter::CountRemaining() const {
  int64_t remaining = 0;
  for (const Run& run : runs_) remaining += run.elements;
  return remaining;
}

}  // namespace sotto::checkpoint
