#ifndef SOTTO_WORKER_DP_PRIVATE_STATISTICS_H_
#define SOTTO_WORKER_DP_PRIVATE_STATISTICS_H_

#include <array>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace sotto::dp {

// Sums over examples that are private until noised: losses and counts. Move-only; only worker/dp
// reads them (StatisticsReader, visible to that package alone). Not thread-safe.
class PrivateStatistics {
 public:
  PrivateStatistics() = default;
  PrivateStatistics(PrivateStatistics&&) = default;
  PrivateStatistics& operator=(PrivateStatistics&&) = default;

  // Adds what `other` holds.
  void Accumulate(PrivateStatistics&& other);

  // Replaces the sums by their sums over all ranks. `all_reduce_sum` must do nothing else with the
  // values.
  absl::Status SumOverRanks(absl::FunctionRef<absl::Status(absl::Span<double>)> all_reduce_sum);

 private:
  friend class StatisticsReader;

  enum Value {
    kExamples,
    kRawLossSum,
    kClippedLossSum,
    kClippedExamples,
    kLabelledExamples,
    kFoundLabels,
    kValues
  };
  std::array<double, kValues> values_{};
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_PRIVATE_STATISTICS_H_
