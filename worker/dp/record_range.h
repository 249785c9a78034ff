// What every sampler asks of its numbers.
#ifndef SOTTO_WORKER_DP_RECORD_RANGE_H_
#define SOTTO_WORKER_DP_RECORD_RANGE_H_

#include <cstdint>

#include "absl/status/status.h"

namespace sotto::dp {

// INVALID_ARGUMENT: the file holds more records than its registration declared (the message tells
// only the declared number).
absl::Status CheckRecords(int64_t records, int64_t max_records);

// INVALID_ARGUMENT: the plan's cap, which the clip norm's margin is made for, is below the largest
// batch that may come.
absl::Status CheckBatchCap(int64_t batch_cap, int64_t largest_batch);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_RECORD_RANGE_H_
