// The sensitivity of sums in tests: that of flat clipping.
#ifndef SOTTO_WORKER_DP_TESTING_SENSITIVITY_H_
#define SOTTO_WORKER_DP_TESTING_SENSITIVITY_H_

#include "worker/dp/flat_clipping.h"

namespace sotto::dp {

inline L2Sensitivity SensitivityOfFlatClipping(double clip_norm) {
  return (*FlatClipping::Create(clip_norm, /*margin=*/0))->sensitivity();
}

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_TESTING_SENSITIVITY_H_
