// Floats as files hold them.
#ifndef SOTTO_COMMON_CHECKPOINT_STORED_FLOATS_H_
#define SOTTO_COMMON_CHECKPOINT_STORED_FLOATS_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/safetensors_layout.h"

namespace sotto::checkpoint {

// INVALID_ARGUMENT, naming the tensor: a dtype other than F32, BF16 and F16.
absl::Status CheckHoldsFloats(absl::Span<const TensorShape> tensors);

// Gives `take` the values, rounded to `dtype`, one after the other in pieces: of F32 all of them as
// they lie there, of a half (BF16, F16) few at once. Returns its first error.
absl::Status ForEachStoredPiece(absl::string_view dtype, absl::Span<const float> values,
                                absl::FunctionRef<absl::Status(absl::string_view bytes)> take);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_STORED_FLOATS_H_
