// One AdamW update of a range, in one pass over memory.
#ifndef SOTTO_KERNELS_ADAMW_H_
#define SOTTO_KERNELS_ADAMW_H_

#include "absl/types/span.h"

namespace sotto::kernels {

// Numbers of one step, the same for every element of the range.
struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;      // 0 for elements without decay
  double gradient_divisor = 1;  // gradient = gradient_sums / gradient_divisor
  double bias_correction1 = 1;  // 1 - beta1^t
  double bias_correction2 = 1;  // 1 - beta2^t
  // Taken out of the corrected second moment, which is kept at or above the floor; both 0: nothing.
  double noise_second_moment = 0;
  double second_moment_floor = 0;
};

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// w -= learning_rate ((m / c1) / (sqrt(max(v / c2 - noise_second_moment, floor)) + epsilon) +
// weight_decay w). All spans have the same size. Computed in fp32 elementwise: the result does not
// depend on how a buffer is cut into ranges. Zero w, g, m, v stay zero.
void UpdateAdamW(const AdamWStep& step, absl::Span<const float> gradient_sums,
                 absl::Span<float> weights, absl::Span<float> m, absl::Span<float> v);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_ADAMW_H_
