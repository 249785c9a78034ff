// What the optimizers share: matching a release against the shards, and cutting it into ranges.
#ifndef SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_
#define SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/dp/noised_gradient.h"
#include "worker/optim/optimizer.h"

namespace sotto::optim {

// INVALID_ARGUMENT: the release has another number of shards, or one of another size. Noises
// nothing.
absl::Status CheckMatches(const dp::NoisedGradient& gradient,
                          const std::vector<ParameterShard>& shards);

// Neighbours in a shard that are all decayed or all not.
struct UpdateRange {
  size_t unit = 0;
  int64_t begin = 0;             // in the shard
  absl::Span<const float> sums;  // noised, of [begin, begin + size)
  bool is_decayed = false;

  // The same elements of a tensor that is cut like the shard.
  absl::Span<float> Of(const at::Tensor& tensor) const {
    return absl::MakeSpan(tensor.data_ptr<float>() + begin, sums.size());
  }
};

// Calls update for ranges that cover all parameters of the shards, padding left out, over ATen's
// threads; the sums of a range are in cache. Updates are elementwise: neither the cuts nor the
// number of threads change the result.
void ForEachRange(const dp::NoisedGradient& gradient, const std::vector<ParameterShard>& shards,
                  absl::FunctionRef<void(const UpdateRange& range)> update);

// Zeros of the shards' sizes.
std::vector<at::Tensor> ZerosLike(const std::vector<ParameterShard>& shards);

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_
