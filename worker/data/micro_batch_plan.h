// How a drawn batch is cut into micro-batches.
#ifndef SOTTO_WORKER_DATA_MICRO_BATCH_PLAN_H_
#define SOTTO_WORKER_DATA_MICRO_BATCH_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace sotto::data {

// Examples that share one padded length. Fewer than m ids: the rest are dummies. No ids: all
// dummies.
struct PlannedMicroBatch {
  std::vector<int64_t> ids;
  int32_t padded_length = 0;

  friend bool operator==(const PlannedMicroBatch&, const PlannedMicroBatch&) = default;
};

// A pure function of its arguments, never of the world size. Each id goes to the smallest public
// length that holds its record (records longer than the last are truncated by the loader); buckets
// in ascending order of length, ids in the order given, cut into pieces of `micro_batch_size`.
// `lengths`: tokens of each id's record. `public_lengths`: ascending, not empty. An empty draw
// gives no micro-batches.
std::vector<PlannedMicroBatch> PlanMicroBatches(absl::Span<const int64_t> ids,
                                                absl::Span<const int64_t> lengths,
                                                absl::Span<const int32_t> public_lengths,
                                                int32_t micro_batch_size);

// What one rank runs: micro-batches rank, rank + W, ...; every rank the same number, the missing
// ones are dummies of the shortest public length. `minimum_count`: micro-batches over all ranks at
// least (pad_to_cap); 0 for none.
std::vector<PlannedMicroBatch> MicroBatchesOfRank(absl::Span<const PlannedMicroBatch> plan,
                                                  int rank, int world_size, int32_t shortest_length,
                                                  int64_t minimum_count);

}  // namespace sotto::data

#endif  // SOTTO_WORKER_DATA_MICRO_BATCH_PLAN_H_
