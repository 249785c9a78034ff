#include "server/planning/defaults.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace sotto::planning {
namespace {

#define SOTTO_DEFAULT(message, name, value) \
  if (!(message).has_##name()) (message).set_##name(value)

std::string DefaultName(const v1::DatasetFacts& dataset) {
  std::string name = "gpt2-";
  for (char c : absl::AsciiStrToLower(dataset.name())) {
    name.push_back(absl::ascii_isalnum(c) ? c : '-');
  }
  return name.substr(0, 63);
}

// Powers of two from 16 to the longest record that the model can see, which closes the list.
void AddLengths(const v1::DatasetFacts& dataset, v1::JobSpec& spec) {
  int32_t longest = spec.model().gpt2().max_length();
  if (dataset.max_length() >= 1) longest = std::min(longest, dataset.max_length());
  for (int32_t length = 16; length < longest; length *= 2) spec.mutable_data()->add_lengths(length);
  spec.mutable_data()->add_lengths(longest);
}

void SetPrivacy(const v1::DatasetFacts& dataset, v1::JobSpec& spec) {
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  SOTTO_DEFAULT(privacy, clip_norm, 1);
  v1::MetricsPrivacySpec& metrics = *privacy.mutable_metrics();
  SOTTO_DEFAULT(metrics, max_loss,
                2 * std::log(std::max(2, spec.model().gpt2().vocabulary_size())));
  if (privacy.not_private()) {
    SOTTO_DEFAULT(privacy, fixed_noise_multiplier, 0);
  } else {
    SOTTO_DEFAULT(privacy, delta, dataset.budget_delta());
    SOTTO_DEFAULT(privacy, crash_reserve, 0);
  }
}

void SetOptimizer(v1::OptimizerSpec& optimizer) {
  if (optimizer.has_sgd()) {
    SOTTO_DEFAULT(*optimizer.mutable_sgd(), momentum, 0);
    SOTTO_DEFAULT(*optimizer.mutable_sgd(), weight_decay, 0);
    return;
  }
  v1::AdamwSpec& adamw = *optimizer.mutable_adamw();
  SOTTO_DEFAULT(adamw, beta1, 0.9);
  SOTTO_DEFAULT(adamw, beta2, 0.999);
  SOTTO_DEFAULT(adamw, epsilon, 1e-8);
  SOTTO_DEFAULT(adamw, weight_decay, 0);
}

void SetTrain(v1::TrainSpec& train) {
  SetOptimizer(*train.mutable_optimizer());
  v1::LearningRateSpec& rate = *train.mutable_learning_rate();
  SOTTO_DEFAULT(rate, warmup_steps, 0);
  if (rate.has_cosine()) {
    SOTTO_DEFAULT(*rate.mutable_cosine(), final_fraction, 0);
  } else {
    rate.set_constant(true);
  }
  if (train.loss_reduction() == v1::LOSS_REDUCTION_UNSPECIFIED) {
    train.set_loss_reduction(v1::LOSS_REDUCTION_MEAN);
  }
}

}  // namespace

v1::JobSpec WithDefaults(const v1::JobSpec& spec, const v1::DatasetFacts& dataset) {
  v1::JobSpec filled = spec;
  if (filled.name().empty()) filled.set_name(DefaultName(dataset));
  v1::Gpt2Spec& gpt2 = *filled.mutable_model()->mutable_gpt2();
  if (gpt2.layer_norm_epsilon() == 0) gpt2.set_layer_norm_epsilon(1e-5);
  if (gpt2.init_stddev() == 0) gpt2.set_init_stddev(0.02);
  if (filled.data().lengths().empty()) AddLengths(dataset, filled);
  SetPrivacy(dataset, filled);
  SetTrain(*filled.mutable_train());
  v1::WorkersSpec& workers = *filled.mutable_workers();
  if (workers.count() == 0) workers.set_count(1);
  if (workers.strategy() == v1::STRATEGY_UNSPECIFIED) workers.set_strategy(v1::FULL_SHARD);
  if (workers.gathered_slots() == 0) workers.set_gathered_slots(2);
  if (filled.gradient().mode().empty()) filled.mutable_gradient()->set_mode("per_example");
  if (filled.checkpoint().keep() == 0) filled.mutable_checkpoint()->set_keep(3);
  return filled;
}

}  // namespace sotto::planning
