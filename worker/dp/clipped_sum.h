// The sum of clipped gradients of one step, before noise.
#ifndef SOTTO_WORKER_DP_CLIPPED_SUM_H_
#define SOTTO_WORKER_DP_CLIPPED_SUM_H_

#include <utility>
#include <vector>

#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/l2_sensitivity.h"
#include "worker/dp/private_statistics.h"
#include "worker/dp/shard_slice.h"

namespace sotto::dp {

// Move-only, and unreadable outside worker/dp: the mechanism is its only consumer.
class ClippedSum {
 public:
  // `slices`: this rank's shards after the reduction over ranks, every unit once. `statistics`: of
  // the micro-batches that ran on this rank (the mechanism sums them over ranks). `sensitivity`: of
  // the rule that scaled the examples. With the passkey the maker vouches that it scaled every one
  // of them before it was added (docs/privacy.md).
  ClippedSum(ClippedSumPasskey, std::vector<ShardSlice> slices, PrivateStatistics statistics,
             L2Sensitivity sensitivity)
      : slices_(std::move(slices)), statistics_(std::move(statistics)), sensitivity_(sensitivity) {}
  ClippedSum(ClippedSum&&) noexcept = default;
  ClippedSum& operator=(ClippedSum&&) noexcept = default;
  ClippedSum(const ClippedSum&) = delete;
  ClippedSum& operator=(const ClippedSum&) = delete;

 private:
  friend class Mechanism;

  std::vector<ShardSlice> slices_;
  PrivateStatistics statistics_;
  L2Sensitivity sensitivity_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIPPED_SUM_H_
