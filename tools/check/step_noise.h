// The noise that a job with a public seed adds to a step's gradient sum.
#ifndef SOTTO_TOOLS_CHECK_STEP_NOISE_H_
#define SOTTO_TOOLS_CHECK_STEP_NOISE_H_

#include <cstdint>
#include <vector>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto::check {

// Noise of canonical positions [begin, begin + elements); zeros for jobs without noise. `begin` is
// a multiple of 32.
std::vector<float> StepNoise(const v1::JobPlan& plan, int64_t step, int64_t begin,
                             int64_t elements);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_STEP_NOISE_H_
