#ifndef SOTTO_WORKER_DP_CLIPPER_H_
#define SOTTO_WORKER_DP_CLIPPER_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace sotto::dp {

// C' = C (1 - max(2^-14, cap * 2^-23)): what examples are clipped at so that a sum of at most `cap`
// of them, as computed in float32, changes by at most C when one is removed. The bound and its
// limits stand in docs/privacy.md.
double AppliedClipNorm(double clip_norm, int64_t cap);

struct Coefficients {
  at::Tensor values_B;   // float32 [B]
  at::Tensor keep_B;     // bool [B]: false where the norm or the loss was not finite
  bool all_kept = true;  // no example has to be selected to zero
  int64_t clipped = 0;   // examples with a factor below 1, those not kept included
};

// The factors min(1, C'/n_b), rounded so that the product never exceeds C'; 0 for an example whose
// norm or loss is not finite. `norm_sq_B` is float64, `losses_B` float32.
Coefficients ComputeCoefficients(const at::Tensor& norm_sq_B, const at::Tensor& losses_B,
                                 double applied_clip_norm);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIPPER_H_
