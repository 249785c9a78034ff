#include "worker/dp/full_batch_sampler.h"

#include <numeric>

#include "common/base/status_macros.h"
#include "worker/dp/record_range.h"

namespace sotto::dp {

absl::StatusOr<std::unique_ptr<FullBatchSampler>> FullBatchSampler::Create(const Options& options) {
  RETURN_IF_ERROR(CheckRecords(options.records, options.max_records));
  RETURN_IF_ERROR(CheckBatchCap(options.batch_cap, options.max_records));
  return std::unique_ptr<FullBatchSampler>(new FullBatchSampler(options.records));
}

Batch FullBatchSampler::Sample(const grant::StepGrant&) const {
  Batch batch;
  batch.ids.resize(records_);
  std::iota(batch.ids.begin(), batch.ids.end(), 0);
  return batch;
}

}  // namespace sotto::dp
