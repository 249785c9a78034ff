#include "server/accounting/epsilon_curve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/accounting/gaussian.h"
#include "server/accounting/orders.h"
#include "server/accounting/ranges.h"
#include "server/accounting/rdp.h"

namespace sotto::accounting {
namespace {

// Orders between the neighbours of the grid's best one: epsilon is flat there, so that a sixteenth
// of the grid's spacing leaves less than 1e-6 of it. Integers where quadrature would be long.
std::vector<double> OrdersAround(const std::vector<double>& grid, double best) {
  const auto at = std::lower_bound(grid.begin(), grid.end(), best);
  const double low = at == grid.begin() ? 1 + (best - 1) / 2 : *(at - 1);
  const double high = at + 1 == grid.end() ? best : *(at + 1);
  constexpr int kPieces = 32;
  constexpr double kLargestFractional = 64;
  std::vector<double> orders;
  for (int i = 1; i < kPieces; ++i) {
    double order = low + (high - low) * i / kPieces;
    if (order > kLargestFractional) order = std::round(order);
    if (order > low && order < high && order != best &&
        (orders.empty() || order != orders.back())) {
      orders.push_back(order);
    }
  }
  return orders;
}

}  // namespace

absl::StatusOr<EpsilonCurve> EpsilonCurve::Create(absl::Span<const StepMechanism> segments,
                                                  absl::Span<const int64_t> planned, double delta) {
  if (segments.empty() || planned.size() != segments.size()) {
    return absl::InvalidArgumentError(absl::StrCat("each of the ", segments.size(),
                                                   " segments needs one number of compositions, "
                                                   "and there are ",
                                                   planned.size()));
  }
  Ranges ranges;
  int64_t together = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    ranges.SamplingRate("sampling_rate", segments[i].sampling_rate)
        .Positive("noise_multiplier", segments[i].noise_multiplier);
    together += planned[i];
  }
  RETURN_IF_ERROR(ranges.AtLeastOne("steps", together).Probability("delta", delta).Check());
  EpsilonCurve curve({segments.begin(), segments.end()}, DenseOrders(), delta);
  curve.AddOrders(OrdersAround(DenseOrders(), curve.RdpAt(planned).order));
  return curve;
}

absl::StatusOr<EpsilonCurve> EpsilonCurve::Create(const StepMechanism& step, int64_t planned_steps,
                                                  double delta) {
  return Create(absl::MakeConstSpan(&step, 1), absl::MakeConstSpan(&planned_steps, 1), delta);
}

EpsilonCurve::EpsilonCurve(std::vector<StepMechanism> segments, std::vector<double> orders,
                           double delta)
    : segments_(std::move(segments)), rdp_(segments_.size()), delta_(delta) {
  AddOrders(orders);
}

void EpsilonCurve::AddOrders(absl::Span<const double> orders) {
  orders_.insert(orders_.end(), orders.begin(), orders.end());
  for (size_t i = 0; i < segments_.size(); ++i) {
    const std::vector<double> rdp =
        SampledGaussianRdp(segments_[i].sampling_rate, segments_[i].noise_multiplier, orders);
    rdp_[i].insert(rdp_[i].end(), rdp.begin(), rdp.end());
  }
}

EpsilonBound EpsilonCurve::RdpAt(absl::Span<const int64_t> compositions) const {
  std::vector<double> total(orders_.size(), 0);
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (compositions[i] <= 0) continue;  // infinity times 0 is no number
    const auto count = static_cast<double>(compositions[i]);
    for (size_t j = 0; j < total.size(); ++j) total[j] += rdp_[i][j] * count;
  }
  return EpsilonFromRdp(orders_, total, delta_);
}

EpsilonBound EpsilonCurve::At(absl::Span<const int64_t> compositions) const {
  if (std::all_of(compositions.begin(), compositions.end(), [](int64_t n) { return n <= 0; })) {
    return {0, orders_[0]};
  }
  const EpsilonBound bound = RdpAt(compositions);
  double mu_squared = 0;
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (compositions[i] <= 0) continue;
    if (segments_[i].sampling_rate < 1) return bound;
    const double s = segments_[i].noise_multiplier;
    mu_squared += static_cast<double>(compositions[i]) / s / s;
  }
  const double exact = GaussianEpsilon(std::sqrt(mu_squared), delta_);
  return exact < bound.epsilon ? EpsilonBound{exact, kExactGaussian} : bound;
}

EpsilonBound EpsilonCurve::At(int64_t steps) const {
  std::vector<int64_t> compositions(segments_.size(), 0);
  compositions[0] = steps;
  return At(compositions);
}

int64_t EpsilonCurve::StepsWithin(double epsilon) const {
  int64_t low = 0;  // At(low) is within
  int64_t high = (int64_t{1} << 40) + 1;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (At(middle).epsilon <= epsilon ? low : high) = middle;
  }
  return low;
}

}  // namespace sotto::accounting
