// What a step releases of its gradient: the only thing an optimizer accepts.
#ifndef SOTTO_WORKER_DP_NOISED_GRADIENT_H_
#define SOTTO_WORKER_DP_NOISED_GRADIENT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "common/crypto/hkdf.h"
#include "kernels/chacha_normals.h"
#include "worker/dp/noised_metrics.h"
#include "worker/dp/shard_slice.h"

namespace sotto::dp {

// Lazy: it owns the sum and the key of its noise, and gives out noised values only.
//
//   sum, key --> first pass, piece by piece: noise, squares, visitor --> noised
//   noised   --> later passes, piece by piece: visitor
//
// 1. The optimizer's ForEachPiece is the first pass: it updates a piece while that is in cache.
// 2. Where nobody asks before, sums() or Mechanism::Report make the first pass.
// 3. Noise is added in the first pass and in no other: once to every used element, ever.
//
// Move-only; made by the mechanism. What it gives out is post-processing: free to use, to print and
// to publish. It lives in the gradient shards that the sum was in, so it is used before the next
// step clears them. Trainer thread only.
class NoisedGradient {
 public:
  // Neighbouring elements of one shard, with their noise.
  struct Piece {
    size_t shard = 0;   // index, in the order of the ClippedSum's
    int64_t begin = 0;  // element of the shard that sums[0] is
    absl::Span<const float> sums;
  };
  using Visitor = absl::FunctionRef<void(const Piece& piece)>;

  NoisedGradient(NoisedGradient&&) noexcept = default;
  NoisedGradient& operator=(NoisedGradient&&) noexcept = default;
  NoisedGradient(const NoisedGradient&) = delete;
  NoisedGradient& operator=(const NoisedGradient&) = delete;

  // Calls visit(piece) over ATen's threads for pieces that cover the used elements of this rank's
  // shards once, and no padding. Values and cuts depend on the shards alone, not on the number of
  // threads. A visitor asks nothing else of the gradient. Guarantee: an element's noise is
  // noise_stddev() times the normal of (key, canonical position), whoever owns it and however the
  // buffer is cut; it is in the element before the visitor sees it, and is added once.
  void ForEachPiece(Visitor visit) const;

  // The noised *sums* of this rank's shards, in the order of the ClippedSum's; divide by
  // expected_batch_size().
  absl::Span<const ShardSlice> sums() const;

  size_t num_shards() const { return slices_.size(); }
  // Padding included.
  int64_t shard_elements(size_t shard) const { return slices_[shard].values.numel(); }

  // Public; the one division, by whoever applies the gradient.
  double expected_batch_size() const { return expected_batch_size_; }

  // Public: standard deviation of the noise in each element of the sums.
  double noise_stddev() const { return noise_stddev_; }

 private:
  friend class Mechanism;

  // The used elements [begin, end) of a shard.
  struct Run {
    size_t shard = 0;
    int64_t begin = 0;
    int64_t end = 0;
    int64_t first_element = 0;    // used elements of this rank before it
    std::vector<double> norm_sq;  // of its noised pieces, in order
  };
  enum class State { kSum, kBeingNoised, kNoised };

  // `metrics`: all but what the norm tells.
  NoisedGradient(std::vector<ShardSlice> slices, const crypto::Key& key, double noise_stddev,
                 double expected_batch_size, const NoisedMetrics& metrics);

  // Of the noised sums on this rank, in fp64; does not depend on the number of threads.
  double NormSq() const;
  // Pieces [begin, end) of a run, where neither cuts a piece.
  void VisitPieces(Run& run, int64_t begin, int64_t end, bool adds_noise, Visitor visit) const;

  std::vector<ShardSlice> slices_;
  kernels::ChaChaKey key_;
  double noise_stddev_;
  double expected_batch_size_;
  NoisedMetrics metrics_;
  double raw_norm_sq_ = 0;  // on this rank, without noise: only for jobs that promise nothing
  int64_t elements_ = 0;    // used ones
  mutable std::vector<Run> runs_;
  mutable State state_ = State::kSum;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_NOISED_GRADIENT_H_
