#ifndef SOTTO_WORKER_DP_FULL_BATCH_SAMPLER_H_
#define SOTTO_WORKER_DP_FULL_BATCH_SAMPLER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/dp/sampler.h"

namespace sotto::dp {

// Every record at every step (q = 1).
class FullBatchSampler : public Sampler {
 public:
  struct Options {
    int64_t max_records = 0;  // M, public
    int64_t records = 0;      // in the file, <= max_records; private
    int64_t batch_cap = 0;    // at least max_records
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<std::unique_ptr<FullBatchSampler>> Create(const Options& options);

  Batch Sample(const grant::StepGrant& grant) const override;

 private:
  explicit FullBatchSampler(int64_t records) : records_(records) {}

  const int64_t records_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_FULL_BATCH_SAMPLER_H_
