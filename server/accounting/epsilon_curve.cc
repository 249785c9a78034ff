#include "server/accounting/epsilon_curve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
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

absl::StatusOr<EpsilonCurve> EpsilonCurve::Create(const StepMechanism& step, int64_t planned_steps,
                                                  double delta) {
  RETURN_IF_ERROR(Ranges()
                      .SamplingRate("sampling_rate", step.sampling_rate)
                      .Positive("noise_multiplier", step.noise_multiplier)
                      .AtLeastOne("steps", planned_steps)
                      .Probability("delta", delta)
                      .Check());
  std::vector<double> orders = DenseOrders();
  std::vector<double> rdp = SampledGaussianRdp(step.sampling_rate, step.noise_multiplier, orders);
  const EpsilonCurve coarse(orders, rdp, delta);
  const double best = coarse.At(planned_steps).order;
  const std::vector<double> around = OrdersAround(DenseOrders(), best);
  const std::vector<double> around_rdp =
      SampledGaussianRdp(step.sampling_rate, step.noise_multiplier, around);
  orders.insert(orders.end(), around.begin(), around.end());
  rdp.insert(rdp.end(), around_rdp.begin(), around_rdp.end());
  return EpsilonCurve(std::move(orders), std::move(rdp), delta);
}

EpsilonCurve::EpsilonCurve(std::vector<double> orders, std::vector<double> rdp, double delta)
    : orders_(std::move(orders)), rdp_(std::move(rdp)), delta_(delta) {}

EpsilonBound EpsilonCurve::At(int64_t steps) const {
  if (steps <= 0) return {0, orders_[0]};
  std::vector<double> total(rdp_.size());
  for (size_t i = 0; i < rdp_.size(); ++i) total[i] = rdp_[i] * static_cast<double>(steps);
  return EpsilonFromRdp(orders_, total, delta_);
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
