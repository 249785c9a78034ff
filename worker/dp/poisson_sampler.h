#ifndef SOTTO_WORKER_DP_POISSON_SAMPLER_H_
#define SOTTO_WORKER_DP_POISSON_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "common/crypto/secret.h"
#include "worker/dp/sampler.h"

namespace sotto::dp {

// Each of the dataset's `max_records` possible records is drawn on its own with probability q,
// keyed by (secret, step): every rank draws the same batch.
// Guarantee: given the secret is unknown, the inclusion of one record is independent of all others
// and has probability q (rounded down to a multiple of 2^-64), except that a draw of more than
// `cap` records keeps a uniform random subset of `cap` (its cost in delta is in the plan).
class PoissonSampler : public Sampler {
 public:
  struct Options {
    crypto::Secret secret;
    int64_t max_records = 0;   // M, public: declared at registration
    int64_t records = 0;       // in the file, <= max_records; private
    double sampling_rate = 0;  // q = expected_batch_size / M, in [0, 1]
    int64_t batch_cap = 0;     // >= 1
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<std::unique_ptr<PoissonSampler>> Create(Options options);

  Batch Sample(const grant::StepGrant& grant) const override;

 private:
  explicit PoissonSampler(Options options) : options_(std::move(options)) {}

  Options options_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_POISSON_SAMPLER_H_
