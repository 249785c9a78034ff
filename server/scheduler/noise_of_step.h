// The noise of a step, for readers.
#ifndef SOTTO_SERVER_SCHEDULER_NOISE_OF_STEP_H_
#define SOTTO_SERVER_SCHEDULER_NOISE_OF_STEP_H_

#include <cstdint>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto::scheduler {

// s_eff of the noise segment that the step lies in.
inline double NoiseMultiplierAt(const v1::PrivacyPlan& privacy, int64_t step) {
  double noise = privacy.noise_multiplier();
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    if (segment.first_step() <= step) noise = segment.noise_multiplier();
  }
  return noise;
}

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_NOISE_OF_STEP_H_
