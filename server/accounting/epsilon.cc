#include "server/accounting/epsilon.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sotto::accounting {

double EpsilonAtOrder(double order, double rdp, double delta) {
  if (!(rdp < std::numeric_limits<double>::infinity())) {
    return std::numeric_limits<double>::infinity();
  }
  if (delta * delta + std::expm1(-rdp) > 0) return 0;
  const double epsilon =
      rdp + std::log1p(-1 / order) - (std::log(delta) + std::log(order)) / (order - 1);
  return std::max(0.0, epsilon);
}

EpsilonBound EpsilonFromRdp(absl::Span<const double> orders, absl::Span<const double> rdp,
                            double delta) {
  EpsilonBound best{std::numeric_limits<double>::infinity(), orders[0]};
  for (size_t i = 0; i < orders.size(); ++i) {
    const double epsilon = EpsilonAtOrder(orders[i], rdp[i], delta);
    if (epsilon < best.epsilon) best = {epsilon, orders[i]};
  }
  return best;
}

}  // namespace sotto::accounting
