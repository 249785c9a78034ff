#include "worker/optim/adamw.h"

#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
#include "kernels/adamw.h"
#include "worker/optim/sharded_update.h"

namespace sotto::optim {

AdamW::AdamW(Options options, std::vector<ParameterShard> shards)
    : options_(options),
      shards_(std::move(shards)),
      m_(ZerosLike(shards_)),
      v_(ZerosLike(shards_)) {}

absl::Status AdamW::Step(const dp::NoisedGradient& gradient, double learning_rate, int64_t step) {
  RETURN_IF_ERROR(CheckMatches(gradient, shards_));
  const double t = static_cast<double>(step + 1);
  kernels::AdamWStep numbers;
  numbers.learning_rate = learning_rate;
  numbers.beta1 = options_.beta1;
  numbers.beta2 = options_.beta2;
  numbers.epsilon = options_.epsilon;
  numbers.gradient_divisor = gradient.expected_batch_size();
  numbers.bias_correction1 = 1 - std::pow(options_.beta1, t);
  numbers.bias_correction2 = 1 - std::pow(options_.beta2, t);
  if (options_.noise_correction_floor.has_value()) {
    const double noise_stddev = gradient.noise_stddev() / gradient.expected_batch_size();
    noise_second_moment_ =
        options_.beta2 * noise_second_moment_ + (1 - options_.beta2) * noise_stddev * noise_stddev;
    numbers.noise_second_moment = noise_second_moment_ / numbers.bias_correction2;
    numbers.second_moment_floor = *options_.noise_correction_floor;
  }
  ForEachRange(gradient, shards_, [&](const UpdateRange& range) {
    kernels::AdamWStep own = numbers;
    own.weight_decay = range.is_decayed ? options_.weight_decay : 0;
    kernels::UpdateAdamW(own, range.sums, range.Of(shards_[range.unit].values),
                         range.Of(m_[range.unit]), range.Of(v_[range.unit]));
  });
  return absl::OkStatus();
}

std::vector<StateTensor> AdamW::State() {
  std::vector<StateTensor> state;
  for (size_t unit = 0; unit < m_.size(); ++unit) {
    state.push_back({"m", static_cast<int>(unit), m_[unit]});
  }
  for (size_t unit = 0; unit < v_.size(); ++unit) {
    state.push_back({"v", static_cast<int>(unit), v_[unit]});
  }
  return state;
}

std::vector<StateNumber> AdamW::Numbers() {
  if (!options_.noise_correction_floor.has_value()) return {};
  return {{"noise_second_moment", &noise_second_moment_}};
}

}  // namespace sotto::optim
