#include "bench/mode_plan.h"

#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/memory.h"
#include "server/planning/planner.h"

namespace sotto::bench {
namespace {

constexpr int64_t kSteps = 1000;
constexpr double kNoiseMultiplier = 0.5;
// More than any measured mode needs: the plan never shrinks a micro-batch.
constexpr int64_t kMemoryBytes = int64_t{1} << 40;

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

v1::JobSpec SpecOf(const ModeShape& shape, const std::string& mode, double clip_norm) {
  const int64_t records = shape.micro_batches * shape.examples;
  v1::JobSpec spec;
  spec.set_name("bench");
  *spec.mutable_model() = ModelOf(shape);
  spec.mutable_data()->set_dataset("bench");
  spec.mutable_data()->add_lengths(static_cast<int32_t>(shape.tokens));
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_seed(3);
  if (mode != "no_dp") {  // which neither clips nor adds noise
    privacy.set_clip_norm(clip_norm);
    privacy.set_fixed_noise_multiplier(kNoiseMultiplier);
  }
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_expected_batch_size(static_cast<double>(records));
  train.set_steps(kSteps);
  train.set_micro_batch_size(static_cast<int32_t>(shape.examples));
  train.mutable_learning_rate()->set_peak(1e-5);
  train.mutable_optimizer()->mutable_adamw();
  spec.mutable_workers()->set_count(shape.ranks);
  absl::string_view name = mode;
  spec.mutable_gradient()->set_deferred_norms(absl::ConsumeSuffix(&name, kDeferredSuffix));
  spec.mutable_gradient()->set_mode(std::string(name));
  return spec;
}

}  // namespace

absl::StatusOr<ModeShape> ShapeOfModel(const std::string& model) {
  if (model == "gpt2-10m") return ModeShape{.model = model};
  if (model == "gpt2-50m") {
    return ModeShape{
        .model = model, .vocabulary_size = 12288, .width = 512, .layers = 12, .heads = 8};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a model is gpt2-10m or gpt2-50m, but is ", model));
}

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
                                         const ModeRecords& records,
                                         const layout::DeviceProfile& profile) {
  v1::DatasetFacts dataset;
  dataset.set_name("bench");
  dataset.set_path(records.path);
  dataset.set_sha256(records.sha256);
  dataset.set_max_records(shape.micro_batches * shape.examples);
  dataset.set_vocabulary_size(static_cast<int32_t>(shape.vocabulary_size));
  dataset.set_max_length(static_cast<int32_t>(shape.tokens));
  return planning::Plan(SpecOf(shape, mode, records.clip_norm), dataset,
                        {.slots = shape.ranks,
                         .cores = shape.threads,
                         .memory_bytes = kMemoryBytes,
                         .device_profiles = {profile}});
}

int64_t PlannedBytes(const v1::JobPlan& plan) {
  return plan.memory().total_bytes() - layout::kControlBytes;
}

int64_t PlannedTensorBytes(const v1::JobPlan& plan) {
  const v1::MemoryPlan& memory = plan.memory();
  return memory.parameters_bytes() + memory.gradient_bytes() + memory.optimizer_bytes() +
         memory.slots_bytes() + memory.activations_bytes() + memory.held_gradients_bytes() +
         memory.workspace_bytes();
}

}  // namespace sotto::bench
