#include "worker/dp/record_range.h"

#include "absl/strings/str_cat.h"

namespace sotto::dp {

absl::Status CheckRecords(int64_t records, int64_t max_records) {
  if (records >= 0 && records <= max_records) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the dataset must have at most ", max_records, " records (max_records)"));
}

absl::Status CheckBatchCap(int64_t batch_cap, int64_t largest_batch) {
  if (batch_cap >= largest_batch) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("batch_cap must be at least ", largest_batch, ", but is ", batch_cap));
}

}  // namespace sotto::dp
