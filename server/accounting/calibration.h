// The noise or the number of steps for a target epsilon.
#ifndef SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_
#define SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/accounting/epsilon_curve.h"

namespace sotto::accounting {

struct CalibrationTarget {
  double epsilon = 0;        // > 0
  double delta = 0;          // what the accountant gets, in (0, 1)
  double sampling_rate = 0;  // q, in (0, 1]
};

// A part of a noise schedule: so many compositions with `factor` times the noise multiplier.
struct NoisePiece {
  double factor = 1;         // > 0
  int64_t compositions = 0;  // at least 1 over all pieces
};

// The smallest noise multiplier at which `steps` steps cost at most the target, to 1e-6 relative.
// Guarantee: EpsilonCurve of the result at `steps` gives at most target.epsilon.
// About 50 ms a piece. INVALID_ARGUMENT: a value out of range, named. OUT_OF_RANGE: not even a
// noise multiplier of 1e4 is enough, or less than 0.02 would be.
absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target, int64_t steps);

// The same for a schedule: the noise multiplier that the pieces' factors multiply.
absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target,
                                                absl::Span<const NoisePiece> pieces);

// The largest number of steps that cost at most the target.
// INVALID_ARGUMENT as above. OUT_OF_RANGE: not even one step is within the target.
absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier);

// The same for a schedule that is stretched over the steps: `pieces_of` gives the pieces of so many
// steps, and more steps have more compositions. At most `limit`, which must not be below 1.
// Guarantee: EpsilonCurve of the result's pieces gives at most target.epsilon. Where pieces change
// places between neighbouring numbers of steps, a slightly larger number may be within too.
using PiecesOf = absl::FunctionRef<std::vector<NoisePiece>(int64_t steps)>;
absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier,
                                       PiecesOf pieces_of, int64_t limit);

// What the pieces cost at a noise multiplier: EpsilonCurve of them, at all their compositions.
absl::StatusOr<EpsilonCurve> CurveOf(absl::Span<const NoisePiece> pieces, double sampling_rate,
                                     double noise_multiplier, double delta);
std::vector<int64_t> CompositionsOf(absl::Span<const NoisePiece> pieces);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_CALIBRATION_H_
