#include "server/accounting/gaussian.h"

#include <cmath>
#include <limits>

namespace sotto::accounting {
namespace {

// log Phi(x). Beyond -30 by Mills' ratio, whose next term is below 1e-12 there.
double LogNormalCdf(double x) {
  if (x > -30) return std::log(0.5 * std::erfc(-x / std::sqrt(2.0)));
  constexpr double kLogSqrt2Pi = 0.918938533204672741780329736406;
  const double r = 1 / (x * x);
  return -0.5 * x * x - kLogSqrt2Pi - std::log(-x) +
         std::log1p(-r * (1 - 3 * r * (1 - 5 * r * (1 - 7 * r))));
}

double DeltaAt(double mu, double epsilon) {
  const double first = LogNormalCdf(mu / 2 - epsilon / mu);
  const double second = epsilon + LogNormalCdf(-mu / 2 - epsilon / mu);
  return -std::exp(first) * std::expm1(second - first);
}

}  // namespace

double GaussianEpsilon(double mu, double delta) {
  if (!(mu < std::numeric_limits<double>::infinity())) {
    return std::numeric_limits<double>::infinity();
  }
  if (mu == 0 || DeltaAt(mu, 0) <= delta) return 0;
  double low = 0;   // DeltaAt is above delta
  double high = 1;  // will be within
  while (DeltaAt(mu, high) > delta) {
    low = high;
    high *= 2;
  }
  for (int i = 0; i < 200 && high - low > 1e-12 * high; ++i) {
    const double middle = low + (high - low) / 2;
    (DeltaAt(mu, middle) > delta ? low : high) = middle;
  }
  constexpr double kRoundUp = 1 + 1e-9;
  return high * kRoundUp;
}

}  // namespace sotto::accounting
