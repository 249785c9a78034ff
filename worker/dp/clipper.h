#ifndef SOTTO_WORKER_DP_CLIPPER_H_
#define SOTTO_WORKER_DP_CLIPPER_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "worker/dp/clipping_rule.h"

namespace sotto::dp {

// What one clipping group's gradients of a micro-batch are multiplied by.
struct Coefficients {
  at::Tensor values_B;   // float32 [B]
  at::Tensor keep_B;     // bool [B]: false where a norm or the loss was not finite
  bool all_kept = true;  // no example has to be selected to zero
};

struct MicroBatchCoefficients {
  std::vector<Coefficients> groups;  // empty before they are computed
  std::vector<bool> clipped_B;       // a factor below 1 in some group, those not kept included
};

// The rule's factors for every example; 0 in all groups for an example of which a norm or the loss
// is not finite. `norm_sq_GB` is float64 [groups, B] (negative values, which rounding can make, are
// zeros), `losses_B` float32.
MicroBatchCoefficients ComputeCoefficients(const at::Tensor& norm_sq_GB, const at::Tensor& losses_B,
                                           const ClippingRule& rule);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIPPER_H_
