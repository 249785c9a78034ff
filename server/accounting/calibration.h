// The noise or the number of steps for a target epsilon.
#ifndef SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_
#define SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace sotto::accounting {

struct CalibrationTarget {
  double epsilon = 0;        // > 0
  double delta = 0;          // what the accountant gets, in (0, 1)
  double sampling_rate = 0;  // q, in (0, 1]
};

// The smallest noise multiplier at which `steps` steps cost at most the target, to 1e-6 relative.
// Guarantee: EpsilonCurve of the result at `steps` gives at most target.epsilon.
// About 50 ms. INVALID_ARGUMENT: a value out of range, named. OUT_OF_RANGE: not even a noise
// multiplier of 1e4 is enough, or less than 0.02 would be.
absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target, int64_t steps);

// The largest number of steps that cost at most the target.
// INVALID_ARGUMENT as above. OUT_OF_RANGE: not even one step is within the target.
absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_
