#include "server/accounting/rdp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace sotto::accounting {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// log(1 + exp(x)).
double Softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// log(expm1(x)) for x > 0.
double LogExpm1(double x) { return x > 36 ? x : std::log(std::expm1(x)); }

// RDP from log(A - 1).
double RdpFromLogExcess(double log_excess, double order) {
  return Softplus(log_excess) / (order - 1);
}

// log of sum exp(logs).
double LogSumExp(const std::vector<double>& logs) {
  const double largest = *std::max_element(logs.begin(), logs.end());
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  for (double value : logs) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

double IntegerOrderRdp(double q, double s, int order) {
  const double log_q = std::log(q);
  const double log_rest = std::log1p(-q);
  const double inverse_variance = 1 / s / s;
  std::vector<double> logs;
  logs.reserve(order);
  double log_binomial = std::log(static_cast<double>(order));  // of (order, 1)
  for (int k = 2; k <= order; ++k) {
    log_binomial += std::log(static_cast<double>(order - k + 1) / k);
    const double exponent = 0.5 * k * (k - 1.0) * inverse_variance;
    logs.push_back(log_binomial + (order - k) * log_rest + k * log_q + LogExpm1(exponent));
  }
  return RdpFromLogExcess(LogSumExp(logs), order);
}

// Nodes of the trapezoidal rule for E_Q[(1+qu)^a - 1 - aqu] over y = x / s, standard normal.
//
// The integrand's singularities nearest to the real line are where 1 + qu = 0: at imaginary part
// pi s. With d the distance used, the rule's relative error is about exp(-2 pi d / h + d^2 / 2):
// with h = 0.4 min(1, s), below exp(-44). Leaving out what is beyond 9.5 of the outermost modes (0
// and a/s) costs less than exp(-40).
class GaussianNodes {
 public:
  GaussianNodes(double q, double s, double largest_order) : q_(q), s_(s) {
    step_ = 0.4 * std::min(1.0, s);
    const int count = static_cast<int>(std::ceil((largest_order / s + 2 * kReach) / step_)) + 1;
    z_.reserve(count);
    v_.reserve(count);
    log_density_.reserve(count);
    for (int i = 0; i < count; ++i) {
      const double y = -kReach + i * step_;
      const double z = y / s - 0.5 / s / s;
      z_.push_back(z);
      v_.push_back(LogRatio(z));
      log_density_.push_back(-0.5 * y * y);
    }
  }

  double Rdp(double order) const {
    const size_t count = std::min<size_t>(
        v_.size(), static_cast<size_t>(std::ceil((order / s_ + 2 * kReach) / step_)) + 1);
    double largest = 0;  // exponents are scaled by it: A may be far beyond a double
    for (size_t i = 0; i < count; ++i) {
      largest = std::max(largest, order * v_[i] + log_density_[i]);
    }
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += Integrand(order, i, largest);
    constexpr double kLogSqrt2Pi = 0.918938533204672741780329736406;
    return RdpFromLogExcess(largest + std::log(sum * step_) - kLogSqrt2Pi, order);
  }

 private:
  static constexpr double kReach = 9.5;

  // log(1 + q expm1(z)): the log of P/Q.
  double LogRatio(double z) const {
    if (z < 30) return std::log1p(q_ * std::expm1(z));
    return std::log(q_) + z + std::log1p((1 - q_) / q_ * std::exp(-z));
  }

  // ((1+qu)^a - 1 - aqu) density exp(-scale) sqrt(2 pi) at node i, without cancellation: with
  // v = log(1 + qu) it is sum_{n>=2} (a^n - a) v^n / n!.
  double Integrand(double order, size_t i, double scale) const {
    const double v = v_[i];
    if (std::abs(order * v) < 0.7) {
      double term = 1;  // (a v)^n / n!
      double sum = 0;
      double power = 1;  // a^(1-n)
      for (int n = 1; n <= 17; ++n) {
        term *= order * v / n;
        sum += term * (1 - power);
        power /= order;
      }
      return sum * std::exp(log_density_[i] - scale);
    }
    const double base = std::exp(log_density_[i] - scale);
    return std::exp(order * v + log_density_[i] - scale) - (1 - order * q_) * base -
           order * q_ * std::exp(z_[i] + log_density_[i] - scale);
  }

  double q_;
  double s_;
  double step_;
  std::vector<double> z_;            // log(N(1, s^2) / N(0, s^2))
  std::vector<double> v_;            // log(P / Q)
  std::vector<double> log_density_;  // of the standard normal, without its constant
};

bool IsInteger(double order) { return order == std::floor(order) && order <= 1e6; }

}  // namespace

double SampledGaussianRdp(double sampling_rate, double noise_multiplier, double order) {
  return SampledGaussianRdp(sampling_rate, noise_multiplier, absl::MakeConstSpan(&order, 1))[0];
}

std::vector<double> SampledGaussianRdp(double sampling_rate, double noise_multiplier,
                                       absl::Span<const double> orders) {
  const double q = sampling_rate;
  const double s = noise_multiplier;
  if (q == 0) return std::vector<double>(orders.size(), 0.0);
  if (s == 0) return std::vector<double>(orders.size(), kInfinity);

  constexpr double kSmallestQuadratureNoise = 0.02;  // below, the nodes would be too many
  double largest_fractional = 0;
  for (double order : orders) {
    if (!IsInteger(order)) largest_fractional = std::max(largest_fractional, order);
  }
  const bool quadrature = q < 1 && s >= kSmallestQuadratureNoise && largest_fractional > 0;
  std::optional<GaussianNodes> nodes;
  if (quadrature) nodes.emplace(q, s, largest_fractional);

  std::vector<double> rdp;
  rdp.reserve(orders.size());
  for (double order : orders) {
    const double unsampled = order / (2 * s * s);
    if (q == 1 || unsampled == kInfinity || (!IsInteger(order) && !quadrature)) {
      rdp.push_back(unsampled);
    } else if (IsInteger(order)) {
      rdp.push_back(IntegerOrderRdp(q, s, static_cast<int>(order)));
    } else {
      rdp.push_back(nodes->Rdp(order));
    }
  }
  return rdp;
}

}  // namespace sotto::accounting
