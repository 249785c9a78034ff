// What the optimizers share: matching a release against the shards, and cutting a shard into
// ranges.
#ifndef SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_
#define SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "worker/dp/noised_gradient.h"
#include "worker/optim/optimizer.h"

namespace sotto::optim {

// INVALID_ARGUMENT: the release has another number of shards, or one of another size.
absl::Status CheckMatches(const dp::NoisedGradient& gradient,
                          const std::vector<ParameterShard>& shards);

// Calls update(begin, end, is_decayed) for ranges that cover the shard, over ATen's threads.
// Updates are elementwise: neither the cuts nor the number of threads change the result.
void ForEachRange(const ParameterShard& shard,
                  absl::FunctionRef<void(int64_t begin, int64_t end, bool is_decayed)> update);

// Zeros of the shards' sizes.
std::vector<at::Tensor> ZerosLike(const std::vector<ParameterShard>& shards);

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_SHARDED_UPDATE_H_
