// From Renyi differential privacy to (epsilon, delta).
#ifndef SOTTO_SERVER_ACCOUNTING_EPSILON_H_
#define SOTTO_SERVER_ACCOUNTING_EPSILON_H_

#include "absl/types/span.h"

namespace sotto::accounting {

// EpsilonBound::order of a bound that comes from no order: the exact composition of Gaussians.
inline constexpr double kExactGaussian = 0;

// An upper bound and where it comes from.
struct EpsilonBound {
  double epsilon = 0;
  double order = 0;  // the order that gave it, or kExactGaussian
};

// Guarantee: a mechanism of RDP `rdp` at `order` is (result, delta)-DP. The smaller of
//   rdp + log1p(-1/a) - log(delta a)/(a-1)   (Canonne, Kamath, Steinke 2020, arXiv 2004.00010,
//                                             prop. 12; clamped at 0), and
//   0 when delta^2 + expm1(-rdp) > 0         (Bretagnolle and Huber on the KL divergence).
// Needs order > 1, rdp >= 0, 0 < delta < 1. Infinity for infinite rdp.
double EpsilonAtOrder(double order, double rdp, double delta);

// The smallest over the orders, which must be chosen without looking at the data, for a mechanism
// whose RDP was fixed beforehand. `orders` and `rdp` have the same length, at least 1.
EpsilonBound EpsilonFromRdp(absl::Span<const double> orders, absl::Span<const double> rdp,
                            double delta);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_EPSILON_H_
