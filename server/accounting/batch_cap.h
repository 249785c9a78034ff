// The largest batch a job may process, and what capping costs.
//
// A Poisson batch of M records at rate q has Bin(M, q) examples. Were it ever larger than the cap,
// a uniform random subset is kept. The capped mechanism differs from the uncapped one with
// probability at most T P[Bin(M, q) > cap], on each of two neighbouring datasets, which costs T (1
// + e^E) P[Bin(M, q) > cap] in delta at epsilon E.
#ifndef SOTTO_SERVER_ACCOUNTING_BATCH_CAP_H_
#define SOTTO_SERVER_ACCOUNTING_BATCH_CAP_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace sotto::accounting {

// What one job may use up for its cap: 100 jobs fill kTruncationShare.
inline constexpr double kJobTruncationShare = 1e-4;  // of delta

struct BatchCapOptions {
  int64_t max_records = 0;   // M, >= 1
  double sampling_rate = 0;  // q, in (0, 1]
  int64_t steps = 0;         // T, re-runs included, >= 1
  double epsilon = 0;        // E: the budget's; without a budget the job's own
  double delta = 0;          // of the budget, or of the job
};

struct BatchCap {
  int64_t examples = 0;
  double step_truncation_delta = 0;  // (1 + e^E) P[Bin(M, q) > examples]: of one step
};

// The smallest cap with T (1 + e^E) P[Bin(M, q) > cap] <= 1e-4 delta; never above M (cost 0).
// INVALID_ARGUMENT, naming the value: one out of range.
absl::StatusOr<BatchCap> ChooseBatchCap(const BatchCapOptions& options);

// log P[Bin(trials, probability) > threshold], rounded up by at most 1e-6; -infinity when it cannot
// happen. Needs trials >= 1, probability in (0, 1].
double LogBinomialTail(int64_t trials, double probability, int64_t threshold);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_BATCH_CAP_H_
