#include "server/accounting/batch_cap.h"

#include <math.h>  // lgammal_r: std::lgamma writes a global

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status_macros.h"
#include "server/accounting/ranges.h"

namespace sotto::accounting {
namespace {

// long double: at 1e9 records the terms are 2e10 and must keep 1e-9 between them.
long double LogFactorial(int64_t n) {
  int sign = 0;
  return lgammal_r(static_cast<long double>(n) + 1, &sign);
}

// log P[Bin(trials, probability) = successes].
double LogBinomialMass(int64_t trials, double probability, int64_t successes) {
  const long double q = probability;
  return static_cast<double>(LogFactorial(trials) - LogFactorial(successes) -
                             LogFactorial(trials - successes) + successes * std::log(q) +
                             (trials - successes) * std::log1p(-q));
}

constexpr double kRoundUp = 1e-6;

}  // namespace

double LogBinomialTail(int64_t trials, double probability, int64_t threshold) {
  if (threshold >= trials) return -std::numeric_limits<double>::infinity();
  if (threshold < 0 || probability >= 1) return 0;
  const double mean = static_cast<double>(trials) * probability;
  if (static_cast<double>(threshold) + 1 <= mean) return 0;  // 1 is a bound; nobody caps there
  // Past the mean the ratios of neighbouring masses fall below 1 and keep falling.
  const double odds = probability / (1 - probability);
  double relative = 1;
  double sum = 1;
  for (int64_t k = threshold + 1; k < trials; ++k) {
    const double ratio = static_cast<double>(trials - k) / (static_cast<double>(k) + 1) * odds;
    relative *= ratio;
    sum += relative;
    if (relative < 1e-10 * (1 - ratio) * sum) {
      sum += relative * ratio / (1 - ratio);  // the rest, as a geometric series from above
      break;
    }
  }
  return std::min(0.0,
                  LogBinomialMass(trials, probability, threshold + 1) + std::log(sum) + kRoundUp);
}

absl::StatusOr<BatchCap> ChooseBatchCap(const BatchCapOptions& options) {
  RETURN_IF_ERROR(Ranges()
                      .AtLeastOne("max_records", options.max_records)
                      .SamplingRate("sampling_rate", options.sampling_rate)
                      .AtLeastOne("steps", options.steps)
                      .Positive("epsilon", options.epsilon)
                      .Probability("delta", options.delta)
                      .Check());
  // log(1 + e^E), in any range of E.
  const double log_factor = options.epsilon + std::log1p(std::exp(-options.epsilon));
  const double log_limit = std::log(kJobTruncationShare) + std::log(options.delta) - log_factor -
                           std::log(static_cast<double>(options.steps));
  const auto fits = [&](int64_t cap) {
    return LogBinomialTail(options.max_records, options.sampling_rate, cap) <= log_limit;
  };
  int64_t low = -1;  // does not fit
  int64_t high = options.max_records;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? high : low) = middle;
  }
  return BatchCap{high, std::exp(log_factor + LogBinomialTail(options.max_records,
                                                              options.sampling_rate, high))};
}

}  // namespace sotto::accounting
