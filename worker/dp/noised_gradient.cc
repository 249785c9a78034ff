#include "worker/dp/noised_gradient.h"

#include <algorithm>
#include <utility>

#include "ATen/Parallel.h"
#include "common/base/log.h"
#include "kernels/sum_of_squares.h"

namespace sotto::dp {

namespace {

// Squares are added up in pieces of this size, in order, whatever thread sums them. 64 KiB, some
// tens of microseconds of noise: above the cost of handing it to a thread, and still in cache when
// the visitor reads it.
constexpr int64_t kPieceElements = 1 << 14;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

NoisedGradient::NoisedGradient(std::vector<ShardSlice> slices, const crypto::Key& key,
                               double noise_stddev, double expected_batch_size,
                               const NoisedMetrics& metrics)
    : slices_(std::move(slices)),
      key_(kernels::ChaChaKey::FromBytes(key)),
      noise_stddev_(noise_stddev),
      expected_batch_size_(expected_batch_size),
      metrics_(metrics) {
  for (size_t shard = 0; shard < slices_.size(); ++shard) {
    const ShardSlice& slice = slices_[shard];
    SOTTO_CHECK(slice.values.scalar_type() == at::kFloat && slice.values.is_contiguous());
    for (const Interval& used : slice.used) {
      const int64_t size = used.end - used.begin;
      const int64_t pieces = RoundUp(size, kPieceElements) / kPieceElements;
      runs_.push_back({.shard = shard,
                       .begin = used.begin,
                       .end = used.end,
                       .first_element = elements_,
                       .norm_sq = std::vector<double>(static_cast<size_t>(pieces))});
      elements_ += size;
    }
  }
}

void NoisedGradient::ForEachPiece(Visitor visit) const {
  // A pass that ended by an exception leaves a sum of which nobody knows what has its noise.
  SOTTO_CHECK(state_ != State::kBeingNoised) << "asked for while it gets its noise";
  const bool adds_noise = state_ == State::kSum;
  if (adds_noise) state_ = State::kBeingNoised;
  // A thread takes the pieces that begin in its share of the elements.
  at::parallel_for(0, elements_, kPieceElements, [&](int64_t first, int64_t last) {
    for (Run& run : runs_) {
      const auto piece_from = [&run](int64_t element) {
        const int64_t inside = std::max<int64_t>(0, element - run.first_element);
        return std::min(run.end, run.begin + RoundUp(inside, kPieceElements));
      };
      VisitPieces(run, piece_from(first), piece_from(last), adds_noise, visit);
    }
  });
  state_ = State::kNoised;
}

void NoisedGradient::VisitPieces(Run& run, int64_t begin, int64_t end, bool adds_noise,
                                 Visitor visit) const {
  float* values = slices_[run.shard].values.data_ptr<float>();
  const int64_t base = slices_[run.shard].canonical_base;
  int64_t noised = begin;  // elements below it have their noise
  for (int64_t piece = begin; piece < end; piece += kPieceElements) {
    const int64_t piece_end = std::min(piece + kPieceElements, end);
    const absl::Span<const float> sums(values + piece, static_cast<size_t>(piece_end - piece));
    if (adds_noise) {
      // Up to the end of a group of normals: the next piece would compute it again.
      const int64_t group_end = RoundUp(base + piece_end, kernels::kNormalsPerGroup) - base;
      const int64_t noised_end = std::min(group_end, end);
      kernels::AddNoise(key_, base + noised, noise_stddev_,
                        absl::MakeSpan(values + noised, static_cast<size_t>(noised_end - noised)));
      noised = noised_end;
      run.norm_sq[(piece - run.begin) / kPieceElements] = kernels::SumOfSquares64(sums);
    }
    visit({.shard = run.shard, .begin = piece, .sums = sums});
  }
}

absl::Span<const ShardSlice> NoisedGradient::sums() const {
  if (state_ != State::kNoised) ForEachPiece([](const Piece&) {});
  return slices_;
}

double NoisedGradient::NormSq() const {
  if (state_ != State::kNoised) ForEachPiece([](const Piece&) {});
  std::vector<double> of_shards(slices_.size());
  for (const Run& run : runs_) {
    for (const double norm_sq : run.norm_sq) of_shards[run.shard] += norm_sq;
  }
  double sum = 0;
  for (const double norm_sq : of_shards) sum += norm_sq;
  return sum;
}

}  // namespace sotto::dp
