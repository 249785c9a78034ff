#include "common/checkpoint/hugging_face_part.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/with_path.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/checkpoint/stored_floats.h"

namespace sotto::checkpoint {

absl::Status HuggingFacePart::Write(int tensor, int64_t first, absl::Span<const float> values) {
  const TensorShape& shape = layout_.tensors()[tensor];
  RETURN_IF_ERROR(CheckHoldsFloats(absl::MakeConstSpan(&shape, 1)));
  int64_t next = first * ItemBytes(shape.dtype);
  return ForEachStoredPiece(shape.dtype, values, [&](absl::string_view bytes) {
    const int64_t begin = next;
    next += static_cast<int64_t>(bytes.size());
    return WriteBytes(tensor, begin, bytes);
  });
}

absl::Status HuggingFacePart::WriteBytes(int tensor, int64_t first, absl::string_view bytes) {
  const TensorShape& shape = layout_.tensors()[tensor];
  const int64_t count = static_cast<int64_t>(bytes.size());
  if (first < 0 || first > shape.num_bytes() - count) {
    return absl::InvalidArgumentError(absl::StrCat("bytes [", first, ", ", first + count,
                                                   ") are outside of tensor ", shape.name, " with ",
                                                   shape.num_bytes()));
  }
  if (bytes.empty()) return absl::OkStatus();
  const HuggingFaceLayout::Place& place = layout_.PlaceOf(tensor);
  RETURN_IF_ERROR(Open(place.file));
  bytes_written_ += count;
  return WithPath(files_.WriteAt(file_.get(), place.begin + first, bytes), PathOf(place.file));
}

absl::Status HuggingFacePart::Sync() {
  if (open_ < 0) return absl::OkStatus();
  RETURN_IF_ERROR(WithPath(files_.Sync(file_.get()), PathOf(open_)));
  file_.Reset();
  open_ = -1;
  return absl::OkStatus();
}

std::string HuggingFacePart::PathOf(int file) const {
  return absl::StrCat(folder_, "/", layout_.files()[file].name);
}

absl::Status HuggingFacePart::Open(int file) {
  if (file == open_) return absl::OkStatus();
  RETURN_IF_ERROR(Sync());
  ASSIGN_OR_RETURN(file_, files_.Open(PathOf(file)));
  open_ = file;
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
