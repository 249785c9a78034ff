#ifndef SOTTO_WORKER_DP_SHUFFLED_SAMPLER_H_
#define SOTTO_WORKER_DP_SHUFFLED_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/secret.h"
#include "worker/dp/sampler.h"

namespace sotto::dp {

// Epochs: the dataset's `max_records` possible records in a random order, cut into batches of
// `batch_places`; the last one of an epoch may have fewer. The order is keyed by (order key,
// epoch). It is public and hides nobody: the accounting counts an epoch as one release that uses
// every record (q = 1), under zero-out or replace-one adjacency. Guarantee: within an epoch a
// record is in exactly one batch, whichever attempt runs which step, and its batch depends neither
// on the other records nor on how many there are. A step that is run again uses its records again,
// and is another release.
class ShuffledSampler : public Sampler {
 public:
  struct Options {
    std::string order_key;     // public; the same in every attempt of the job
    int64_t max_records = 0;   // M, public; below 2^31
    int64_t records = 0;       // in the file, <= max_records; private
    int64_t batch_places = 0;  // in [1, max_records]
    int64_t batch_cap = 0;     // at least batch_places
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<std::unique_ptr<ShuffledSampler>> Create(Options options);

  Batch Sample(const grant::StepGrant& grant) const override;

  // ceil(max_records / batch_places): epoch e is steps [e S, (e + 1) S).
  int64_t steps_per_epoch() const { return steps_per_epoch_; }

 private:
  explicit ShuffledSampler(Options options);

  // Position to record, of the epoch.
  const std::vector<uint32_t>& OrderOf(int64_t epoch) const;

  const Options options_;
  const crypto::Secret order_key_;
  const int64_t steps_per_epoch_;
  // The latest epoch's order.
  mutable int64_t epoch_ = -1;
  mutable std::vector<uint32_t> order_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_SHUFFLED_SAMPLER_H_
