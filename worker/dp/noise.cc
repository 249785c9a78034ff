#include "worker/dp/noise.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "common/base/log.h"
#include "kernels/chacha_normals.h"
#include "kernels/sum_of_squares.h"

namespace sotto::dp {

namespace {

// Elements of one task: some tens of microseconds of noise, above the cost of handing it to a
// thread.
constexpr int64_t kElementsPerTask = 1 << 14;

float* DataOf(const ShardSlice& slice) {
  SOTTO_CHECK(slice.values.scalar_type() == at::kFloat && slice.values.is_contiguous());
  return slice.values.data_ptr<float>();
}

}  // namespace

void AddNoiseToSlice(const crypto::Key& key, double stddev, const ShardSlice& slice) {
  const kernels::ChaChaKey noise_key = kernels::ChaChaKey::FromBytes(key);
  float* values = DataOf(slice);
  for (const Interval& used : slice.used) {
    at::parallel_for(used.begin, used.end, kElementsPerTask, [&](int64_t begin, int64_t end) {
      kernels::AddNoise(noise_key, slice.canonical_base + begin, stddev,
                        absl::MakeSpan(values + begin, end - begin));
    });
  }
}

double NormSqOfSlice(const ShardSlice& slice) {
  const float* values = DataOf(slice);
  double norm_sq = 0;
  for (const Interval& used : slice.used) {
    // Pieces of one size, added in order, whatever thread sums them.
    const int64_t pieces = (used.end - used.begin + kElementsPerTask - 1) / kElementsPerTask;
    std::vector<double> sums(static_cast<size_t>(pieces));
    at::parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
      for (int64_t piece = first; piece < last; ++piece) {
        const int64_t begin = used.begin + piece * kElementsPerTask;
        const int64_t size = std::min(kElementsPerTask, used.end - begin);
        sums[piece] = kernels::SumOfSquares64(absl::MakeConstSpan(values + begin, size));
      }
    });
    for (double sum : sums) norm_sq += sum;
  }
  return norm_sq;
}

}  // namespace sotto::dp
