#include "server/planning/defaults.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/layout/known_modes.h"
#include "server/planning/image_models.h"
#include "server/planning/model_facts.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

#define SOTTO_DEFAULT(message, name, value) \
  if (!(message).has_##name()) (message).set_##name(value)

std::string DefaultName(const v1::JobSpec& spec, const v1::DatasetFacts& dataset) {
  const absl::string_view family = FamilyOf(spec.model());
  std::string name = absl::StrCat(family.empty() ? "model" : family, "-");
  for (char c : absl::AsciiStrToLower(dataset.name())) {
    name.push_back(absl::ascii_isalnum(c) ? c : '-');
  }
  return name.substr(0, 63);
}

#define SOTTO_PLAIN_DEFAULT(message, name, value) \
  if ((message).name() == 0) (message).set_##name(value)

void SetModel(v1::ModelSpec& model) {
  if (model.has_gpt2()) {
    v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
    SOTTO_PLAIN_DEFAULT(gpt2, layer_norm_epsilon, 1e-5);
    SOTTO_PLAIN_DEFAULT(gpt2, init_stddev, 0.02);
    SOTTO_PLAIN_DEFAULT(gpt2, hidden_width, 4 * gpt2.width());
    SOTTO_PLAIN_DEFAULT(gpt2, activation, v1::GELU_TANH);
  }
  if (model.has_llama()) {
    v1::LlamaSpec& llama = *model.mutable_llama();
    SOTTO_PLAIN_DEFAULT(llama, key_value_heads, llama.heads());
    if (llama.heads() >= 1) SOTTO_PLAIN_DEFAULT(llama, head_width, llama.width() / llama.heads());
    SOTTO_PLAIN_DEFAULT(llama, rms_norm_epsilon, 1e-5);
    SOTTO_PLAIN_DEFAULT(llama, rotary_base, 10000);
    SOTTO_PLAIN_DEFAULT(llama, init_stddev, 0.02);
    SOTTO_PLAIN_DEFAULT(llama, activation, v1::SILU);
  }
  if (model.has_encoder()) {
    v1::EncoderSpec& encoder = *model.mutable_encoder();
    SOTTO_PLAIN_DEFAULT(encoder, hidden_width, 4 * encoder.width());
    SOTTO_PLAIN_DEFAULT(encoder, layer_norm_epsilon, 1e-5);
    SOTTO_PLAIN_DEFAULT(encoder, init_stddev, 0.02);
  }
  SetImageModelDefaults(model);
  if (model.adaptation().has_lora()) {
    SOTTO_DEFAULT(*model.mutable_adaptation()->mutable_lora(), alpha,
                  model.adaptation().lora().rank());
  }
}

void SetSharding(v1::TrainSpec& train, v1::WorkersSpec& workers) {
  SOTTO_PLAIN_DEFAULT(workers, gathered_slots, 2);
  if (workers.strategy() != v1::NO_SHARD) {
    SOTTO_PLAIN_DEFAULT(workers, prefetch_depth, workers.gathered_slots() - 1);
  }
  if (workers.wrapping().kind_case() == v1::WrappingSpec::KIND_NOT_SET) {
    workers.mutable_wrapping()->mutable_by_block();
  }
  if (workers.wrapping().has_by_layer() && workers.wrapping().by_layer().kinds().empty()) {
    workers.mutable_wrapping()->mutable_by_layer()->add_kinds("linear");
  }
  if (!train.has_activation_checkpointing()) return;
  if (!train.activation_checkpointing().units().empty()) return;
  SOTTO_PLAIN_DEFAULT(*train.mutable_activation_checkpointing(), every_blocks, 1);
}

// Powers of two from 16 to the longest record that the model can see, which closes the list.
void AddLengths(const v1::DatasetFacts& dataset, v1::JobSpec& spec) {
  int32_t longest = MaxLengthOf(spec.model());
  if (dataset.max_length() >= 1) longest = std::min(longest, dataset.max_length());
  for (int32_t length = 16; length < longest; length *= 2) spec.mutable_data()->add_lengths(length);
  spec.mutable_data()->add_lengths(longest);
}

void SetSampler(const v1::DatasetFacts& dataset, v1::JobSpec& spec) {
  v1::SamplerSpec& sampler = *spec.mutable_data()->mutable_sampler();
  if (sampler.kind_case() == v1::SamplerSpec::KIND_NOT_SET) sampler.mutable_poisson();
  if (sampler.has_full_batch()) {
    SOTTO_DEFAULT(*spec.mutable_train(), expected_batch_size,
                  static_cast<double>(dataset.max_records()));
  }
}

// Before the clip norm's own default: thresholds of units say what it is.
void SetClipping(bool uses_clip_norm, v1::PrivacySpec& privacy) {
  v1::ClippingSpec& clipping = *privacy.mutable_clipping();
  if (clipping.kind_case() == v1::ClippingSpec::KIND_NOT_SET) clipping.mutable_flat();
  if (clipping.per_unit().thresholds_size() > 0) {
    double square_sum = 0;
    for (double threshold : clipping.per_unit().thresholds()) square_sum += threshold * threshold;
    SOTTO_DEFAULT(privacy, clip_norm, std::sqrt(square_sum));
  }
  if (uses_clip_norm) SOTTO_DEFAULT(privacy, clip_norm, 1);
  if (clipping.has_automatic()) SOTTO_DEFAULT(*clipping.mutable_automatic(), gamma, 0.01);
  if (!clipping.has_adaptive()) return;
  constexpr double kRange = 1000;
  v1::AdaptiveClipping& adaptive = *clipping.mutable_adaptive();
  SOTTO_DEFAULT(adaptive, target_quantile, 0.5);
  SOTTO_DEFAULT(adaptive, learning_rate, 0.2);
  SOTTO_DEFAULT(adaptive, minimum, std::max(kLeastClipNorm, privacy.clip_norm() / kRange));
  SOTTO_DEFAULT(adaptive, maximum, std::min(kLargestClipNorm, privacy.clip_norm() * kRange));
}

void SetPrivacy(const v1::DatasetFacts& dataset, v1::JobSpec& spec) {
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  SetClipping(UsesClipNorm(spec), privacy);
  for (v1::ScheduleSpec* schedule :
       {privacy.mutable_clip_schedule(), privacy.mutable_noise_schedule()}) {
    if (schedule->kind_case() == v1::ScheduleSpec::KIND_NOT_SET) schedule->mutable_constant();
  }
  v1::MetricsPrivacySpec& metrics = *privacy.mutable_metrics();
  SOTTO_DEFAULT(metrics, max_loss, 2 * std::log(std::max(2, OutputsOf(spec.model()))));
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
  } else if (rate.has_linear()) {
    SOTTO_DEFAULT(*rate.mutable_linear(), final_fraction, 0);
  } else if (!rate.has_step()) {
    rate.set_constant(true);
  }
  if (train.loss_reduction() == v1::LOSS_REDUCTION_UNSPECIFIED) {
    train.set_loss_reduction(v1::LOSS_REDUCTION_MEAN);
  }
}

void SetRanks(v1::WorkersSpec& workers) {
  if (workers.count() == 0) workers.set_count(1);
  if (workers.strategy() == v1::STRATEGY_UNSPECIFIED) workers.set_strategy(v1::FULL_SHARD);
  if (workers.strategy() == v1::HYBRID_SHARD && workers.shard_group_size() == 0) {
    workers.set_shard_group_size(std::max(1, workers.count() / 2));
  }
}

const char* InferenceName(const v1::InferenceSpec& inference) {
  switch (inference.kind_case()) {
    case v1::InferenceSpec::kGenerate:
      return "generate";
    case v1::InferenceSpec::kScore:
      return "score";
    case v1::InferenceSpec::kCapture:
      return "capture";
    default:
      return "edit";
  }
}

}  // namespace

v1::JobSpec WithDefaults(const v1::JobSpec& spec, const v1::DatasetFacts& dataset) {
  v1::JobSpec filled = spec;
  if (filled.name().empty()) filled.set_name(DefaultName(spec, dataset));
  SetModel(*filled.mutable_model());
  SetSampler(dataset, filled);
  if (filled.data().lengths().empty()) AddLengths(dataset, filled);
  SetPrivacy(dataset, filled);
  SetTrain(*filled.mutable_train());
  v1::WorkersSpec& workers = *filled.mutable_workers();
  SetRanks(workers);
  SetSharding(*filled.mutable_train(), workers);
  if (filled.gradient().mode().empty()) {
    filled.mutable_gradient()->set_mode(std::string(layout::kPerExampleMode.name));
  }
  if (filled.checkpoint().keep() == 0) filled.mutable_checkpoint()->set_keep(3);
  return filled;
}

v1::JobSpec WithInferenceDefaults(const v1::JobSpec& spec, int32_t max_new_tokens) {
  v1::JobSpec filled = spec;
  v1::InferenceSpec& inference = *filled.mutable_inference();
  if (filled.name().empty()) filled.set_name(InferenceName(inference));
  SetModel(*filled.mutable_model());
  v1::WorkersSpec& workers = *filled.mutable_workers();
  SetRanks(workers);
  SOTTO_PLAIN_DEFAULT(workers, gathered_slots, 2);
  if (inference.has_generate()) {
    v1::GenerateSpec& generate = *inference.mutable_generate();
    generate.set_max_new_tokens(max_new_tokens);
    if (generate.temperature() > 0) SOTTO_PLAIN_DEFAULT(generate, top_p, 1);
  }
  if (inference.has_edit()) {
    SOTTO_PLAIN_DEFAULT(*inference.mutable_edit(), scale, 1);
  } else {
    SOTTO_PLAIN_DEFAULT(inference, batch_size, 8);
  }
  return filled;
}

}  // namespace sotto::planning
