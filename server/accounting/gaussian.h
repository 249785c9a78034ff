// The Gaussian mechanism without sampling, exactly.
#ifndef SOTTO_SERVER_ACCOUNTING_GAUSSIAN_H_
#define SOTTO_SERVER_ACCOUNTING_GAUSSIAN_H_

namespace sotto::accounting {

// The smallest epsilon at which a Gaussian mechanism of L2 sensitivity over noise stddev `mu` is
// (epsilon, delta)-DP, rounded up by 1e-9 relative: the root of
//   delta = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)
// (Balle and Wang 2018, arXiv 1805.06530, theorem 8). Gaussian mechanisms of noise multipliers s_i,
// composed adaptively, are one with mu^2 = sum 1/s_i^2 (Dong, Roth and Su 2019, arXiv 1905.02383,
// corollary 3.3). 0 when delta alone pays for it.
// Needs mu >= 0, 0 < delta < 1. Infinity for infinite mu.
double GaussianEpsilon(double mu, double delta);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_GAUSSIAN_H_
