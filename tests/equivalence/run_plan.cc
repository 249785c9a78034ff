#include "tests/equivalence/run_plan.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/crypto/sha256.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/memory.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"

namespace sotto::equivalence {
namespace {

constexpr int kSlots = 2;  // gathered ones, and gradients

// Records of 2 to max_length tokens; some with unscored ones.
std::string WriteTokens(const std::string& path, const RunOptions& options) {
  auto writer = dataset::TokenFileWriter::Create(path, {.vocabulary_size = options.vocabulary_size,
                                                        .max_length = options.max_length,
                                                        .classes = options.classes});
  SOTTO_CHECK_OK(writer.status());
  uint32_t state = 12345;
  const auto next = [&state](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % below;
  };
  for (int64_t record = 0; record < options.records; ++record) {
    std::vector<int32_t> tokens(2 + next(options.max_length - 1));
    std::vector<uint8_t> scored(tokens.size(), options.score_tokens ? 1 : 0);
    for (size_t t = 0; t < tokens.size(); ++t) {
      tokens[t] = static_cast<int32_t>(next(options.vocabulary_size));
      if (record % 5 == 0 && t < 3) scored[t] = 0;
    }
    const int32_t label = options.classes > 0 ? static_cast<int32_t>(record % options.classes)
                                              : dataset::TokenFileWriter::kNoLabel;
    SOTTO_CHECK_OK(writer->Add(tokens, scored, label));
  }
  auto sha256 = writer->Finish();
  SOTTO_CHECK_OK(sha256.status());
  return *sha256;
}

layout::UnitMode ModeOf(const RunOptions& options) {
  const layout::UnitMode mode = *layout::FindMode(options.mode);
  return options.deferred_norms ? layout::WithDeferredNorms(mode) : mode;
}

void FillLayers(const layout::ModelDescription& model, const layout::LayerModes& modes,
                v1::ShardingPlan& sharding) {
  for (size_t unit = 0; unit < modes.size(); ++unit) {
    for (size_t layer = 0; layer < modes[unit].size(); ++layer) {
      v1::LayerPlan& message = *sharding.add_layers();
      message.set_unit(static_cast<int32_t>(unit));
      message.set_name(model.units[unit].layers[layer].name);
      *message.mutable_mode() = spec::ModeMessage(modes[unit][layer]);
    }
  }
}

void FillUnits(const layout::ModelDescription& model, const layout::FlatLayout& layout,
               v1::ShardingPlan& sharding) {
  sharding.clear_units();
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    v1::UnitPlan& message = *sharding.add_units();
    message.set_name(model.units[unit].name);
    message.set_elements(layout.unit(unit).elements);
    message.set_padded_elements(layout.unit(unit).padded_elements);
  }
  sharding.set_communicator_bytes(layout::CommunicatorBytes(layout, sharding.world_size()));
}

void FillScheduleHash(const layout::ModelDescription& model, const layout::ScheduleChoice& choice,
                      v1::ShardingPlan& sharding) {
  const layout::ScheduleOptions schedule = layout::MakeScheduleOptions(model, choice);
  sharding.set_schedule_hash(crypto::HexSha256(*layout::CanonicalScheduleText(schedule)));
}

void FillSharding(const RunOptions& options, v1::JobPlan* plan) {
  const layout::Strategy strategy = *layout::FindStrategy(options.strategy);
  const layout::RankGrid grid =
      *layout::MakeRankGrid(strategy, options.world_size, options.shard_group_size);
  const layout::ModelDescription model = *spec::DescribeModel(plan->spec().model());
  v1::ShardingPlan& sharding = *plan->mutable_sharding();
  sharding.set_world_size(options.world_size);
  v1::Strategy message = v1::STRATEGY_UNSPECIFIED;
  SOTTO_CHECK(v1::Strategy_Parse(options.strategy, &message));
  sharding.set_strategy(message);
  sharding.set_shard_group_size(grid.shards);
  sharding.set_replicas(grid.replicas);
  sharding.set_threads_per_rank(options.threads_per_rank);
  sharding.set_gathered_slots(kSlots);
  sharding.set_gradient_slots(kSlots);
  FillUnits(model, *layout::FlatLayout::Create(model, grid.shards), sharding);
  layout::LayerModes layer_modes;
  if (options.layer_modes) {
    layer_modes = options.layer_modes(model);
    plan->mutable_spec()->mutable_gradient()->set_mode("auto");
    FillLayers(model, layer_modes, sharding);
  }
  const layout::UnitMode mode = ModeOf(options);
  *sharding.mutable_mode() = spec::ModeMessage(mode);
  sharding.set_mode_name(options.mode);
  FillScheduleHash(model,
                   {.mode = mode,
                    .layer_modes = std::move(layer_modes),
                    .strategy = strategy,
                    .gathered_slots = kSlots,
                    .gradient_slots = kSlots},
                   sharding);
}

void FillTraining(const RunOptions& options, v1::JobPlan* plan) {
  v1::TrainPlan& train = *plan->mutable_train();
  train.set_expected_batch_size(options.sampling_rate * static_cast<double>(options.records));
  train.set_steps(10);
  train.set_micro_batch_size(options.micro_batch_size);
  for (int32_t third : {1, 2, 3}) train.add_lengths(third * options.max_length / 3);
  train.set_checkpoint_keep(3);
  v1::PrivacyPlan& privacy = *plan->mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_sampling_rate(options.sampling_rate);
  privacy.set_batch_cap(options.records);
  privacy.set_adjacency("add_or_remove_one");
  privacy.set_sensitivity_factor(1);
  privacy.mutable_sampler()->set_kind(v1::SamplerPlan::POISSON);
  privacy.mutable_clipping()->set_rule(v1::ClippingPlan::FLAT);
  privacy.add_segments()->set_gradient_noise_multiplier(options.noise_multiplier);
  privacy.set_clip_norm(options.clip_norm);
  privacy.set_clip_norm_applied(options.clip_norm * (1 - std::exp2(-14)));
  privacy.set_clip_margin(std::exp2(-14));
  privacy.set_max_loss(2 * std::log(options.vocabulary_size));
}

}  // namespace

v1::JobPlan MakePlan(const std::string& directory, const RunOptions& options) {
  v1::JobPlan plan;
  plan.set_protocol_version(1);
  v1::Gpt2Spec& gpt2 = *plan.mutable_spec()->mutable_model()->mutable_gpt2();
  gpt2.set_vocabulary_size(options.vocabulary_size);
  gpt2.set_width(options.width);
  gpt2.set_layers(options.layers);
  gpt2.set_heads(options.heads);
  gpt2.set_max_length(options.max_length);
  gpt2.set_untied_head(!options.tied_head);
  gpt2.set_init_stddev(0.1);
  for (const std::string& pattern : options.frozen) {
    plan.mutable_spec()->mutable_model()->mutable_adaptation()->add_frozen(pattern);
  }
  if (options.choose_model) options.choose_model(*plan.mutable_spec()->mutable_model());
  plan.mutable_spec()->mutable_model()->set_init_seed(7);
  plan.mutable_spec()->mutable_privacy()->set_seed(options.seed);
  plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(1e-3);
  v1::AdamwSpec& adamw =
      *plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_adamw();
  adamw.set_weight_decay(0.1);
  adamw.set_epsilon(options.adam_epsilon);
  if (options.sgd_learning_rate > 0) {
    plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_sgd();
    plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(
        options.sgd_learning_rate);
  }
  v1::DatasetFacts& dataset = *plan.mutable_dataset();
  dataset.set_path(absl::StrCat(directory, "/tokens.bin"));
  dataset.set_sha256(WriteTokens(dataset.path(), options));
  dataset.set_max_records(options.records);
  dataset.set_vocabulary_size(options.vocabulary_size);
  dataset.set_max_length(options.max_length);
  dataset.set_classes(options.classes);
  FillTraining(options, &plan);
  FillSharding(options, &plan);
  if (options.adjust) options.adjust(plan);
  return plan;
}

void PlaceAgain(v1::JobPlan& plan) {
  v1::ShardingPlan& sharding = *plan.mutable_sharding();
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  const layout::WrappedModel wrapped = *spec::WrapModel(model, plan.spec().workers().wrapping());
  FillUnits(wrapped.units, *layout::FlatLayout::Create(wrapped.units, sharding.shard_group_size()),
            sharding);
  FillScheduleHash(model, *spec::ScheduleChoiceOf(plan, model, wrapped), sharding);
}

}  // namespace sotto::equivalence
