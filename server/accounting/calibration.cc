#include "server/accounting/calibration.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

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
  NoiseSearch(const CalibrationTarget& target, absl::Span<const NoisePiece> pieces)
      : target_(target), pieces_(pieces.begin(), pieces.end()) {}

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
                     CurveOf(pieces_, target_.sampling_rate, noise, target_.delta));
    const double epsilon =
        std::max(curve.At(CompositionsOf(pieces_)).epsilon, 1e-9 * target_.epsilon);
    return Trial{noise, epsilon <= target_.epsilon
                            ? std::min(0.0, std::log(epsilon / target_.epsilon))
                            : std::log(epsilon / target_.epsilon)};
  }

  absl::Status Unreachable(const char* before, double noise, const char* after) const {
    int64_t compositions = 0;
    for (const NoisePiece& piece : pieces_) compositions += piece.compositions;
    return absl::OutOfRangeError(absl::StrCat(
        "epsilon ", target_.epsilon, " at delta ", target_.delta, " cannot be reached in ",
        compositions, " steps at sampling rate ", target_.sampling_rate, ": ", before,
        " a noise multiplier of ", noise, " ", after));
  }

  CalibrationTarget target_;
  std::vector<NoisePiece> pieces_;
};

// Pieces of a schedule over more and more steps: their mechanisms stay the same mostly, and so does
// the curve then.
class StepsSearch {
 public:
  StepsSearch(const CalibrationTarget& target, double noise_multiplier, PiecesOf pieces_of)
      : target_(target), noise_multiplier_(noise_multiplier), pieces_of_(pieces_of) {}

  absl::StatusOr<double> Epsilon(int64_t steps) {
    const std::vector<NoisePiece> pieces = pieces_of_(steps);
    std::vector<double> factors;
    for (const NoisePiece& piece : pieces) factors.push_back(piece.factor);
    if (!curve_.has_value() || factors != factors_) {
      ASSIGN_OR_RETURN(curve_,
                       CurveOf(pieces, target_.sampling_rate, noise_multiplier_, target_.delta));
      factors_ = std::move(factors);
    }
    return curve_->At(CompositionsOf(pieces)).epsilon;
  }

  // From the plan's own curve, whose orders are refined for exactly these steps.
  absl::StatusOr<double> OwnEpsilon(int64_t steps) {
    curve_.reset();
    return Epsilon(steps);
  }

 private:
  CalibrationTarget target_;
  double noise_multiplier_;
  PiecesOf pieces_of_;
  std::optional<EpsilonCurve> curve_;
  std::vector<double> factors_;
};

// Moves `low`, which is within the target, up towards `high`, which is not or is not allowed.
absl::Status Bisect(const CalibrationTarget& target, StepsSearch& search, int64_t& low,
                    int64_t high) {
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    ASSIGN_OR_RETURN(const double epsilon, search.Epsilon(middle));
    (epsilon <= target.epsilon ? low : high) = middle;
  }
  return absl::OkStatus();
}

// A plan refines its orders for its own number of steps, so that the last few steps around `steps`
// are decided by curves of their own.
absl::StatusOr<int64_t> LargestOwn(const CalibrationTarget& target, StepsSearch& search,
                                   int64_t steps, int64_t limit) {
  const auto fits = [&](int64_t candidate) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const double epsilon, search.OwnEpsilon(candidate));
    return epsilon <= target.epsilon;
  };
  ASSIGN_OR_RETURN(bool within, fits(steps));
  while (within && steps < limit) {
    ASSIGN_OR_RETURN(within, fits(steps + 1));
    if (!within) return steps;
    ++steps;
  }
  while (!within && steps > 1) {
    --steps;
    ASSIGN_OR_RETURN(within, fits(steps));
  }
  return steps;
}

}  // namespace

absl::StatusOr<EpsilonCurve> CurveOf(absl::Span<const NoisePiece> pieces, double sampling_rate,
                                     double noise_multiplier, double delta) {
  std::vector<StepMechanism> segments;
  for (const NoisePiece& piece : pieces) {
    segments.push_back({sampling_rate, noise_multiplier * piece.factor});
  }
  return EpsilonCurve::Create(segments, CompositionsOf(pieces), delta);
}

std::vector<int64_t> CompositionsOf(absl::Span<const NoisePiece> pieces) {
  std::vector<int64_t> compositions;
  for (const NoisePiece& piece : pieces) compositions.push_back(piece.compositions);
  return compositions;
}

absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target, int64_t steps) {
  const NoisePiece piece{1, steps};
  return CalibrateNoiseMultiplier(target, absl::MakeConstSpan(&piece, 1));
}

absl::StatusOr<double> CalibrateNoiseMultiplier(const CalibrationTarget& target,
                                                absl::Span<const NoisePiece> pieces) {
  RETURN_IF_ERROR(CheckTarget(target));
  int64_t compositions = 0;
  Ranges ranges;
  for (const NoisePiece& piece : pieces) {
    compositions += piece.compositions;
    ranges.Positive("factor", piece.factor);
  }
  RETURN_IF_ERROR(ranges.AtLeastOne("steps", compositions).Check());
  return NoiseSearch(target, pieces).Run();
}

absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier) {
  constexpr int64_t kLimit = int64_t{1} << 40;
  return CalibrateSteps(
      target, noise_multiplier,
      [](int64_t steps) {
        return std::vector<NoisePiece>{{1, steps}};
      },
      kLimit);
}

absl::StatusOr<int64_t> CalibrateSteps(const CalibrationTarget& target, double noise_multiplier,
                                       PiecesOf pieces_of, int64_t limit) {
  RETURN_IF_ERROR(CheckTarget(target));
  RETURN_IF_ERROR(
      Ranges().Positive("noise_multiplier", noise_multiplier).AtLeastOne("steps", limit).Check());
  StepsSearch search(target, noise_multiplier, pieces_of);
  ASSIGN_OR_RETURN(const double one, search.Epsilon(1));
  if (one > target.epsilon) {
    return absl::OutOfRangeError(absl::StrCat(
        "not even one step at noise multiplier ", noise_multiplier, " and sampling rate ",
        target.sampling_rate, " is within epsilon ", target.epsilon, ": it costs ", one));
  }
  int64_t low = 1;   // within
  int64_t high = 2;  // will be beyond, or the limit
  while (high <= limit) {
    ASSIGN_OR_RETURN(const double epsilon, search.Epsilon(high));
    if (epsilon > target.epsilon) break;
    low = high;
    high *= 2;
  }
  high = std::min(high, limit + 1);
  // Twice, because a curve's orders are refined for the steps that it was made for.
  for (int round = 0; round < 2; ++round) {
    RETURN_IF_ERROR(search.OwnEpsilon(low).status());
    RETURN_IF_ERROR(Bisect(target, search, low, high));
    high = std::min(limit, low + low / 50 + 1) + 1;
    if (round == 0) low = std::max<int64_t>(1, low - low / 50 - 1);
  }
  return LargestOwn(target, search, low, limit);
}

}  // namespace sotto::accounting
