// What a step releases of its gradient: the only thing an optimizer accepts.
#ifndef SOTTO_WORKER_DP_NOISED_GRADIENT_H_
#define SOTTO_WORKER_DP_NOISED_GRADIENT_H_

#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "worker/dp/shard_slice.h"

namespace sotto::dp {

// Move-only; made by the mechanism. Post-processing: free to use, to print and to publish. It lives
// in the gradient shards that the sum was in, so it is used before the next step clears them.
class NoisedGradient {
 public:
  NoisedGradient(NoisedGradient&&) noexcept = default;
  NoisedGradient& operator=(NoisedGradient&&) noexcept = default;
  NoisedGradient(const NoisedGradient&) = delete;
  NoisedGradient& operator=(const NoisedGradient&) = delete;

  // The noised *sums* of this rank's shards, in the order of the ClippedSum's; divide by
  // expected_batch_size().
  absl::Span<const ShardSlice> sums() const { return slices_; }

  // Public; the one division, by whoever applies the gradient.
  double expected_batch_size() const { return expected_batch_size_; }

  // Public: standard deviation of the noise in each element of the sums.
  double noise_stddev() const { return noise_stddev_; }

 private:
  friend class Mechanism;
  NoisedGradient(std::vector<ShardSlice> slices, double expected_batch_size, double noise_stddev)
      : slices_(std::move(slices)),
        expected_batch_size_(expected_batch_size),
        noise_stddev_(noise_stddev) {}

  std::vector<ShardSlice> slices_;
  double expected_batch_size_;
  double noise_stddev_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_NOISED_GRADIENT_H_
