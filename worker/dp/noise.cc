#include "worker/dp/noise.h"

#include "ATen/Parallel.h"
#include "common/base/log.h"
#include "kernels/chacha_normals.h"
#include "kernels/sum_of_squares.h"

namespace sotto::dp {

namespace {

// Elements of one task: 0.5 ms of noise, far above the cost of handing it to a thread.
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
    norm_sq +=
        kernels::SumOfSquares64(absl::MakeConstSpan(values + used.begin, used.end - used.begin));
  }
  return norm_sq;
}

}  // namespace sotto::dp
