// The door to PrivateStatistics: this target is visible inside worker/dp alone.
#ifndef SOTTO_WORKER_DP_STATISTICS_READER_H_
#define SOTTO_WORKER_DP_STATISTICS_READER_H_

#include <optional>

#include "worker/dp/private_statistics.h"

namespace sotto::dp {

class StatisticsReader {
 public:
  // Adds one real example. Its loss enters the clipped sum within [0, loss_bound]: NaN and negative
  // losses as 0, infinite ones as loss_bound. Guarantee: one example moves the clipped-loss sum by
  // at most loss_bound, the count of clipped examples and that of found labels by at most 1.
  // `found_label`: nothing where the model does not classify.
  static void AddExample(PrivateStatistics& statistics, double loss, double loss_bound,
                         bool was_clipped, std::optional<bool> found_label = std::nullopt);

  static double Examples(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kExamples];
  }
  static double RawLossSum(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kRawLossSum];
  }
  static double ClippedLossSum(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kClippedLossSum];
  }
  static double ClippedExamples(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kClippedExamples];
  }
  static double LabelledExamples(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kLabelledExamples];
  }
  static double FoundLabels(const PrivateStatistics& statistics) {
    return statistics.values_[PrivateStatistics::kFoundLabels];
  }
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_STATISTICS_READER_H_
