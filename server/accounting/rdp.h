// Renyi differential privacy of one step of DP-SGD: the Poisson-subsampled Gaussian mechanism under
// add-or-remove-one adjacency.
//
// With q the sampling rate, s the noise multiplier, P = (1-q) N(0, s^2) + q N(1, s^2) and
// Q = N(0, s^2): RDP(a) = log E_Q[(P/Q)^a] / (a - 1). The other direction is never larger (Mironov,
// Talwar, Zhang 2019, arXiv 1908.10530), so this one suffices. Steps add up, order by order.
#ifndef SOTTO_SERVER_ACCOUNTING_RDP_H_
#define SOTTO_SERVER_ACCOUNTING_RDP_H_

#include <vector>

#include "absl/types/span.h"

namespace sotto::accounting {

// RDP of one step at one order. Relative error under 1e-10, whatever the size of the result.
// Integer orders: A - 1 = sum_{k>=2} C(a,k) (1-q)^(a-k) q^k expm1((k^2-k)/(2s^2)), positive terms
// only. Other orders: A - 1 = E_Q[(1+qu)^a - 1 - aqu], u = expm1((2x-1)/(2s^2)), a non-negative
// analytic integrand, by the trapezoidal rule on the line.
// Needs 0 <= q <= 1, s >= 0, order > 1, all finite. Gives 0 for q = 0, infinity for s = 0 and for
// what a double cannot hold. Below s = 0.02, fractional orders give a/(2s^2), a valid upper bound.
double SampledGaussianRdp(double sampling_rate, double noise_multiplier, double order);

// The same at every order; shares the work of the fractional ones.
std::vector<double> SampledGaussianRdp(double sampling_rate, double noise_multiplier,
                                       absl::Span<const double> orders);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_RDP_H_
