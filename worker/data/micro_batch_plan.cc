#include "worker/data/micro_batch_plan.h"

#include <algorithm>

#include "common/base/log.h"

namespace sotto::data {

std::vector<PlannedMicroBatch> PlanMicroBatches(absl::Span<const int64_t> ids,
                                                absl::Span<const int64_t> lengths,
                                                absl::Span<const int32_t> public_lengths,
                                                int32_t micro_batch_size) {
  SOTTO_CHECK(ids.size() == lengths.size());
  SOTTO_CHECK(!public_lengths.empty() && micro_batch_size >= 1);
  std::vector<std::vector<int64_t>> buckets(public_lengths.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto fitting =
        std::lower_bound(public_lengths.begin(), public_lengths.end() - 1, lengths[i]);
    buckets[fitting - public_lengths.begin()].push_back(ids[i]);
  }
  std::vector<PlannedMicroBatch> plan;
  for (size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    for (size_t i = 0; i < buckets[bucket].size(); ++i) {
      if (i % micro_batch_size == 0) {
        plan.push_back({.ids = {}, .padded_length = public_lengths[bucket]});
      }
      plan.back().ids.push_back(buckets[bucket][i]);
    }
  }
  return plan;
}

std::vector<PlannedMicroBatch> MicroBatchesOfRank(absl::Span<const PlannedMicroBatch> plan,
                                                  int rank, int world_size, int32_t shortest_length,
                                                  int64_t minimum_count) {
  SOTTO_CHECK(rank >= 0 && rank < world_size);
  const int64_t planned = static_cast<int64_t>(plan.size());
  const int64_t count = std::max(planned, minimum_count);
  const int64_t per_rank = (count + world_size - 1) / world_size;
  std::vector<PlannedMicroBatch> own;
  for (int64_t i = 0; i < per_rank; ++i) {
    const int64_t index = i * world_size + rank;
    own.push_back(index < planned ? plan[index]
                                  : PlannedMicroBatch{.ids = {}, .padded_length = shortest_length});
  }
  return own;
}

}  // namespace sotto::data
