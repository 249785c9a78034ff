#include "worker/dp/statistics_reader.h"

#include <algorithm>
#include <optional>

namespace sotto::dp {

void StatisticsReader::AddExample(PrivateStatistics& statistics, double loss, double loss_bound,
                                  bool was_clipped, std::optional<bool> found_label) {
  statistics.values_[PrivateStatistics::kExamples] += 1;
  statistics.values_[PrivateStatistics::kRawLossSum] += loss;
  // The order of the operands makes NaN 0.
  const double clipped_loss = loss > 0 ? std::min(loss, loss_bound) : 0;
  statistics.values_[PrivateStatistics::kClippedLossSum] += clipped_loss;
  statistics.values_[PrivateStatistics::kClippedExamples] += was_clipped ? 1 : 0;
  statistics.values_[PrivateStatistics::kLabelledExamples] += found_label.has_value() ? 1 : 0;
  statistics.values_[PrivateStatistics::kFoundLabels] += found_label.value_or(false) ? 1 : 0;
}

}  // namespace sotto::dp
