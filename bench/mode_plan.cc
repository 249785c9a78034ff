#include "bench/mode_plan.h"

#include <cmath>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/memory.h"
#include "common/spec/model_layout.h"

namespace sotto::bench {
namespace {

constexpr int kSlots = 2;

v1::ModelSpec ModelOf(const ModeShape& shape) {
  v1::ModelSpec model;
  v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
  gpt2.set_vocabulary_size(static_cast<int32_t>(shape.vocabulary_size));
  gpt2.set_width(static_cast<int32_t>(shape.width));
  gpt2.set_layers(static_cast<int32_t>(shape.layers));
  gpt2.set_heads(static_cast<int32_t>(shape.heads));
  gpt2.set_max_length(static_cast<int32_t>(shape.tokens));
  gpt2.set_untied_head(true);
  model.set_init_seed(7);
  return model;
}

absl::StatusOr<layout::UnitMode> ModeOf(const std::string& name) {
  const std::optional<layout::UnitMode> mode = layout::FindMode(name);
  if (mode.has_value()) return *mode;
  return absl::InvalidArgumentError(absl::StrCat("no gradient mode is named ", name));
}

absl::Status FillSharding(const ModeShape& shape, const std::string& mode_name, v1::JobPlan* plan) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(plan->spec().model()));
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, 1));
  ASSIGN_OR_RETURN(const layout::UnitMode mode, ModeOf(mode_name));
  v1::ShardingPlan& sharding = *plan->mutable_sharding();
  sharding.set_world_size(1);
  sharding.set_threads_per_rank(shape.threads);
  sharding.set_gathered_slots(kSlots);
  sharding.set_gradient_slots(kSlots);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    v1::UnitPlan& message = *sharding.add_units();
    message.set_name(model.units[unit].name);
    message.set_elements(layout.unit(unit).elements);
    message.set_padded_elements(layout.unit(unit).padded_elements);
  }
  *sharding.mutable_mode() = spec::ModeMessage(mode);
  sharding.set_mode_name(mode_name);
  ASSIGN_OR_RETURN(const std::string schedule,
                   layout::CanonicalScheduleText({.stages = model.stages,
                                                  .kept = mode.kept,
                                                  .gathered_slots = kSlots,
                                                  .gradient_slots = kSlots}));
  sharding.set_schedule_hash(crypto::HexSha256(schedule));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WriteRecords(const ModeShape& shape, const std::string& path) {
  ASSIGN_OR_RETURN(auto writer,
                   dataset::TokenFileWriter::Create(
                       path, {.vocabulary_size = static_cast<int32_t>(shape.vocabulary_size),
                              .max_length = static_cast<int32_t>(shape.tokens)}));
  std::mt19937 generator(1);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(shape.vocabulary_size) - 1);
  std::vector<int32_t> tokens(static_cast<size_t>(shape.tokens));
  const std::vector<uint8_t> scored(tokens.size(), 1);
  for (int64_t record = 0; record < shape.micro_batches * shape.examples; ++record) {
    for (int32_t& value : tokens) value = token(generator);
    RETURN_IF_ERROR(writer.Add(tokens, scored));
  }
  return writer.Finish();
}

absl::StatusOr<v1::JobPlan> MakeModePlan(const ModeShape& shape, const std::string& mode,
                                         const std::string& records_path,
                                         const std::string& records_sha256, double clip_norm) {
  const int64_t records = shape.micro_batches * shape.examples;
  v1::JobPlan plan;
  plan.set_protocol_version(1);
  *plan.mutable_spec()->mutable_model() = ModelOf(shape);
  plan.mutable_spec()->mutable_privacy()->set_seed(3);
  plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(1e-5);
  plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_adamw();
  v1::DatasetFacts& dataset = *plan.mutable_dataset();
  dataset.set_path(records_path);
  dataset.set_sha256(records_sha256);
  dataset.set_max_records(records);
  dataset.set_vocabulary_size(static_cast<int32_t>(shape.vocabulary_size));
  dataset.set_max_length(static_cast<int32_t>(shape.tokens));
  v1::TrainPlan& train = *plan.mutable_train();
  train.set_expected_batch_size(static_cast<double>(records));
  train.set_steps(1000);
  train.set_micro_batch_size(static_cast<int32_t>(shape.examples));
  train.add_lengths(static_cast<int32_t>(shape.tokens));
  train.set_checkpoint_keep(1);
  v1::PrivacyPlan& privacy = *plan.mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_sampling_rate(1);
  privacy.set_batch_cap(records);
  privacy.set_clip_norm(clip_norm);
  privacy.set_clip_norm_applied(clip_norm * (1 - std::exp2(-14)));
  privacy.set_clip_margin(std::exp2(-14));
  privacy.set_max_loss(2 * std::log(static_cast<double>(shape.vocabulary_size)));
  privacy.set_adjacency("add_or_remove_one");
  privacy.set_sensitivity_factor(1);
  privacy.mutable_sampler()->set_kind(v1::SamplerPlan::POISSON);
  privacy.mutable_clipping()->set_rule(v1::ClippingPlan::FLAT);
  v1::NoiseSegment& noise = *privacy.add_segments();
  if (mode != "no_dp") {
    noise.set_gradient_noise_multiplier(0.5);
    noise.set_loss_noise_multiplier(5);
    noise.set_clip_fraction_noise_multiplier(5);
  }
  RETURN_IF_ERROR(FillSharding(shape, mode, &plan));
  return plan;
}

absl::StatusOr<int64_t> PlannedBytes(const ModeShape& shape, const std::string& mode_name) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(ModelOf(shape)));
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, 1));
  ASSIGN_OR_RETURN(const layout::UnitMode mode, ModeOf(mode_name));
  const layout::MemoryEstimate estimate =
      layout::EstimateMemory(model, layout,
                             {.gathered_slots = kSlots,
                              .gradient_slots = kSlots,
                              .mode = mode,
                              .micro_batch_size = shape.examples,
                              .longest_length = shape.tokens,
                              .optimizer_states = 2});
  return estimate.total_bytes() - layout::kControlBytes;
}

absl::StatusOr<int64_t> NumParameters(const ModeShape& shape) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(ModelOf(shape)));
  return model.num_elements();
}

}  // namespace sotto::bench
