// Cross-entropy of one position, with its gradient.
#ifndef SOTTO_KERNELS_SOFTMAX_GRADIENT_H_
#define SOTTO_KERNELS_SOFTMAX_GRADIENT_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels {

// Returns -log softmax(logits)[target] and overwrites `logits` with weight * (softmax(logits) -
// onehot(target)). Finite for all finite logits; NaN or infinite logits give a loss that is not
// finite. Relative error of exp: 3e-7.
float SoftmaxGradient(absl::Span<float> logits, int64_t target, float weight);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_SOFTMAX_GRADIENT_H_
