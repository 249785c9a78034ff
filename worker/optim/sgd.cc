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
  for (size_t unit = 0; unit < shards_.size(); ++unit) {
    const float* sums = gradient.sums()[unit].values.data_ptr<float>();
    float* weights = shards_[unit].values.data_ptr<float>();
    float* buffer = momentum_.empty() ? nullptr : momentum_[unit].data_ptr<float>();
    ForEachRange(shards_[unit], [&](int64_t begin, int64_t end, bool is_decayed) {
      const float factor = is_decayed ? kept : 1.f;
      for (int64_t i = begin; i < end; ++i) {
        float direction = sums[i] / divisor;
        if (buffer != nullptr) direction = buffer[i] = momentum * buffer[i] + direction;
        weights[i] = factor * weights[i] - rate * direction;
      }
    });
  }
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
