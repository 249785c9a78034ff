#include "worker/optim/sgd.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/optim/sharded_update.h"

namespace sotto::optim {

Sgd::Sgd(Options options, std::vector<ParameterShard> shards)
    : options_(options), shards_(std::move(shards)) {
  if (options_.momentum != 0) momentum_ = ZerosLike(shards_);
}

absl::Status Sgd::Step(const dp::NoisedGradient& gradient, double learning_rate, int64_t) {
  RETURN_IF_ERROR(CheckMatches(gradient, shards_));
  const float divisor = static_cast<float>(gradient.expected_batch_size());
  const float momentum = static_cast<float>(options_.momentum);
  const float rate = static_cast<float>(learning_rate);
  const float kept = static_cast<float>(1 - learning_rate * options_.weight_decay);
  ForEachRange(gradient, shards_, [&](const UpdateRange& range) {
    float* weights = range.Of(shards_[range.unit].values).data();
    float* buffer = momentum_.empty() ? nullptr : range.Of(momentum_[range.unit]).data();
    const float factor = range.is_decayed ? kept : 1.f;
    for (size_t i = 0; i < range.sums.size(); ++i) {
      float direction = range.sums[i] / divisor;
      if (buffer != nullptr) direction = buffer[i] = momentum * buffer[i] + direction;
      weights[i] = factor * weights[i] - rate * direction;
    }
  });
  return absl::OkStatus();
}

std::vector<StateTensor> Sgd::State() {
  std::vector<StateTensor> state;
  for (size_t unit = 0; unit < momentum_.size(); ++unit) {
    state.push_back({"momentum", static_cast<int>(unit), momentum_[unit]});
  }
  return state;
}

}  // namespace sotto::optim
