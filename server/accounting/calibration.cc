#include "server/accounting/calibration.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/ranges.h"

namespace sotto::accounting {
namespace {

constexpr double kSmallestNoise = 0.02;  // rdp.h is exact from here on
constexpr double kLargestNoise = 1e4;
constexpr double kRelativeTolerance = 1e-6;

absl::Status CheckTarget(const CalibrationTarget& target) {
  return Ranges()
      .Positive("epsilon", target.epsilon)
      .Probability("delta", target.delta)
      .SamplingRate("sampling_rate", target.sampling_rate)
      .Check();
}

// A noise multiplier and by how much its epsilon exceeds the target, as a logarithm: nearly linear
// in the noise's logarithm.
struct Trial {
  double noise = 0;
  double excess = 0;
};

class NoiseSearch {
 public:
  NoiseSearch(const CalibrationTarget& target, int64_t steps) : target_(target), steps_(steps) {}

  absl::StatusOr<double> Run() {
    ASSIGN_OR_RETURN(Trial low, Try(1));  // will cost too much
    Trial high = low;                     // will be within
    while (high.excess > 0) {
      if (high.noise >= kLargestNoise) return Unreachable("not even", kLargestNoise, "is enough");
      low = high;
      ASSIGN_OR_RETURN(high, Try(std::min(2 * high.noise, kLargestNoise)));
    }
    while (low.excess <= 0) {
      if (low.noise <= kSmallestNoise) return Unreachable("less than", kSmallestNoise, "would do");
      high = low;
      ASSIGN_OR_RETURN(low, Try(std::max(low.noise / 2, kSmallestNoise)));
    }
    return Narrow(low, high);
  }

 private:
  // Keeps low.excess > 0 >= high.excess. Each round tries the secant's root, pushed a little to the
  // side that would close the bracket, and the middle when that gains too little.
  absl::StatusOr<double> Narrow(Trial low, Trial high) {
    bool bisect = false;
    while (high.noise / low.noise - 1 > kRelativeTolerance) {
      const double width = std::log(high.noise / low.noise);
      double share = 0.5;
      if (!bisect && std::isfinite(low.excess)) {
        const double root = low.excess / (low.excess - high.excess);
        const double push =
            std::max(0.02 * std::min(root, 1 - root), 0.4 * kRelativeTolerance / width);
        share = std::clamp(root < 0.5 ? root + push : root - push, 1e-3, 1 - 1e-3);
      }
      ASSIGN_OR_RETURN(const Trial middle, Try(low.noise * std::exp(share * width)));
      (middle.excess > 0 ? low : high) = middle;
      bisect = std::log(high.noise / low.noise) > 0.3 * width;
    }
    return high.noise;
  }

  absl::StatusOr<Trial> Try(double noise) const {
    ASSIGN_OR_RETURN(const EpsilonCurve curve,
                     EpsilonCurve::Create({target_.sampling_rate, noise}, steps_, target_.delta));
    const double epsilon = std::max(curve.At(steps_).epsilon, 1e-9 * target_.epsilon);
    return Trial{noise, epsilon <= target_.epsilon
                            ? std::min(0.0, std::log(epsilon / target_.epsilon))
                            : std::log(epsilon / target_.epsilon)};
  }

  absl::Status Unreachable(const char* before, double noise, const char* after) const {
    return absl::OutOfRangeError(absl::StrCat(
        "epsilon ", target_.epsilon, " at delta ", target_.delta, " cannot be reached in ", steps_,
        " steps at sampling rate ", target_.sampling_rate, ": ", before, " a noise multiplier of ",
        noise, " ", after));
  }

  CalibrationTarget target_;
  int64_t steps_;
};

}  // namespace

absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target, int64_t steps) {
  RETURN_IF_ERROR(CheckTarget(target));
  RETURN_IF_ERROR(Ranges().AtLeastOne("steps", steps).Check());
  return NoiseSearch(target, steps).Run();
}

absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier) {
  RETURN_IF_ERROR(CheckTarget(target));
  RETURN_IF_ERROR(Ranges().Positive("noise_multiplier", noise_multiplier).Check());
  const StepMechanism step{target.sampling_rate, noise_multiplier};
  ASSIGN_OR_RETURN(const EpsilonCurve coarse, EpsilonCurve::Create(step, 1, target.delta));
  const int64_t about = std::max<int64_t>(1, coarse.StepsWithin(target.epsilon));
  ASSIGN_OR_RETURN(const EpsilonCurve fine, EpsilonCurve::Create(step, about, target.delta));
  int64_t steps = fine.StepsWithin(target.epsilon);
  if (steps == 0) {
    return absl::OutOfRangeError(absl::StrCat("not even one step at noise multiplier ",
                                              noise_multiplier, " and sampling rate ",
                                              target.sampling_rate, " is within epsilon ",
                                              target.epsilon, ": it costs ", fine.At(1).epsilon));
  }
  // A plan refines its orders for its own number of steps, which may differ from `about`.
  while (steps > 1) {
    ASSIGN_OR_RETURN(const EpsilonCurve own, EpsilonCurve::Create(step, steps, target.delta));
    if (own.At(steps).epsilon <= target.epsilon) break;
    --steps;
  }
  return steps;
}

}  // namespace sotto::accounting
