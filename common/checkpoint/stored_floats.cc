#include "common/checkpoint/stored_floats.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/half_floats.h"

namespace sotto::checkpoint {
namespace {

// Values converted at once: 128 kB of them stay in the cache.
constexpr size_t kPieceElements = 1 << 16;

}  // namespace

absl::Status CheckHoldsFloats(absl::Span<const TensorShape> tensors) {
  for (const TensorShape& tensor : tensors) {
    if (tensor.dtype == "F32" || tensor.dtype == "BF16" || tensor.dtype == "F16") continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", tensor.name, " must be F32, BF16 or F16, but is ", tensor.dtype));
  }
  return absl::OkStatus();
}

absl::Status ForEachStoredPiece(absl::string_view dtype, absl::Span<const float> values,
                                absl::FunctionRef<absl::Status(absl::string_view bytes)> take) {
  if (dtype == "F32") {
    return take({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  const auto half_of = dtype == "BF16" ? Bfloat16OfFloat : Float16OfFloat;
  std::vector<uint16_t> halves(std::min(kPieceElements, values.size()));
  while (!values.empty()) {
    const absl::Span<const float> piece = values.subspan(0, kPieceElements);
    std::transform(piece.begin(), piece.end(), halves.begin(), half_of);
    RETURN_IF_ERROR(
        take({reinterpret_cast<const char*>(halves.data()), piece.size() * sizeof(uint16_t)}));
    values.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
