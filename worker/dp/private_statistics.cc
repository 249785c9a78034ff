#include "worker/dp/private_statistics.h"

namespace sotto::dp {

void PrivateStatistics::Accumulate(PrivateStatistics&& other) {
  for (int i = 0; i < kValues; ++i) values_[i] += other.values_[i];
}

absl::Status PrivateStatistics::SumOverRanks(
    absl::FunctionRef<absl::Status(absl::Span<double>)> all_reduce_sum) {
  return all_reduce_sum(absl::MakeSpan(values_));
}

}  // namespace sotto::dp
