// The Kolmogorov-Smirnov statistic of a sample against a normal law.
#ifndef SOTTO_KERNELS_TESTING_KOLMOGOROV_H_
#define SOTTO_KERNELS_TESTING_KOLMOGOROV_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace sotto::kernels {

// A sample of the law itself exceeds it with probability 2 exp(-2 * 2.7^2) = 9.3e-7.
inline constexpr double kKolmogorovBound = 2.7;

// sqrt(n) times the largest distance of the distribution of `ascending` from that of a normal with
// mean 0 and this standard deviation.
template <typename T>
double KolmogorovDistance(const std::vector<T>& ascending, double stddev) {
  const double n = static_cast<double>(ascending.size());
  double distance = 0;
  for (size_t i = 0; i < ascending.size(); ++i) {
    const double cdf = 0.5 * std::erfc(-ascending[i] / (stddev * std::sqrt(2.0)));
    distance = std::max({distance, cdf - i / n, (i + 1) / n - cdf});
  }
  return distance * std::sqrt(n);
}

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_TESTING_KOLMOGOROV_H_
