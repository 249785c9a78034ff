// Jobs that break one rule of samplers, clipping, schedules, modes, strategies and families, on
// datasets of every adjacency.
#include <functional>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/spec/spec_parser.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::HasSubstr;

struct OptionRule {
  std::string name;
  std::string yaml;  // beside the model
  std::string field;
  std::string rule;  // empty: no rule is broken
  std::string adjacency = "add_or_remove_one";
  int32_t classes = 0;        // of the dataset's labels
  bool holds_images = false;  // instead of tokens
};

constexpr char kGpt2[] =
    "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, max_length: 32}}\n";
constexpr char kTrain[] =
    "train: {expected_batch_size: 512, steps: 300, learning_rate: {peak: 1e-3}}\n";

absl::StatusOr<v1::JobPlan> PlanOf(const OptionRule& asked) {
  const std::string& yaml = asked.yaml;
  const auto has = [&](const char* key) { return yaml.find(key) != std::string::npos; };
  std::string text = has("model:") ? "" : kGpt2;
  if (!has("train:")) text += kTrain;
  if (!has("data:")) text += "data: {dataset: fortunes}\n";
  if (!has("privacy:")) text += "privacy: {epsilon: 3}\n";
  text += yaml;
  absl::StatusOr<v1::JobSpec> spec = spec::ParseJobSpec(text, spec::Format::kYaml);
  if (!spec.ok()) return spec.status();
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_adjacency(asked.adjacency);
  dataset.set_classes(asked.classes);
  if (asked.holds_images) {
    for (int32_t size : {3, 8, 8}) dataset.add_image_shape(size);
  }
  return Plan(*spec, dataset, MakeDemoHost());
}

class OptionRuleTest : public ::testing::TestWithParam<OptionRule> {};

TEST_P(OptionRuleTest, IsTheOnlyViolation) {
  const absl::StatusOr<v1::JobPlan> plan = PlanOf(GetParam());
  if (GetParam().rule.empty()) {
    EXPECT_OK(plan);
    return;
  }
  ASSERT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
  ASSERT_EQ(violations.size(), 1) << plan.status();
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_THAT(violations[0].rule, HasSubstr(GetParam().rule));
}

#define SHUFFLED "data: {dataset: fortunes, sampler: {shuffled: {}}}\n"
#define FULL_BATCH "data: {dataset: fortunes, sampler: {full_batch: {}}}\n"

INSTANTIATE_TEST_SUITE_P(
    Sampling, OptionRuleTest,
    ::testing::Values(
        OptionRule{"ShuffledUnderAddOrRemove", SHUFFLED, "data.sampler.shuffled",
                   "cannot be accounted under add_or_remove_one"},
        OptionRule{"ShuffledUnderZeroOut", SHUFFLED, "", "", "zero_out"},
        OptionRule{"ShuffledUnderReplaceOne", SHUFFLED, "", "", "replace_one"},
        OptionRule{"ShuffledFractions",
                   SHUFFLED "train: {expected_batch_size: 100.5, steps: 300, "
                            "learning_rate: {peak: 1e-3}}\n",
                   "train.expected_batch_size", "whole number", "zero_out"},
        OptionRule{"PoissonUnderReplaceOne", "data: {dataset: fortunes}\n", "data.sampler.poisson",
                   "not accounted under replace_one", "replace_one"},
        OptionRule{"FullBatchOfAnotherSize", FULL_BATCH, "train.expected_batch_size",
                   "max_records 15000"},
        OptionRule{"FullBatch", FULL_BATCH "train: {steps: 30, learning_rate: {peak: 1e-3}}\n", "",
                   "", "replace_one"},
        OptionRule{"NoiseChangesInsideEpochs",
                   SHUFFLED
                   "privacy: {epsilon: 3, noise_schedule: {step: {every_steps: 45, factor: 2}}}\n",
                   "privacy.noise_schedule.step.every_steps", "whole epochs of 30", "zero_out"}),
    [](const auto& info) { return info.param.name; });

#define PRIVACY(x) "privacy: {epsilon: 3, " x "}\n"

INSTANTIATE_TEST_SUITE_P(
    Privacy, OptionRuleTest,
    ::testing::Values(
        OptionRule{"Thresholds",
                   PRIVACY("clip_norm: 1, clipping: {per_unit: {thresholds: [1, 1, 1]}}"),
                   "privacy.clipping.per_unit.thresholds", "add up to the square of clip_norm 1"},
        OptionRule{"ThresholdOfZero", PRIVACY("clipping: {per_unit: {thresholds: [1, 0, 1]}}"),
                   "privacy.clipping.per_unit.thresholds[1]", "positive"},
        OptionRule{"TooFewThresholds", PRIVACY("clipping: {per_unit: {thresholds: [3, 4]}}"),
                   "privacy.clipping.per_unit.thresholds", "each of the 3 units"},
        OptionRule{"TinyThresholds",
                   PRIVACY("clipping: {per_unit: {thresholds: [1e-13, 1e-13, 1e-13]}}"),
                   "privacy.clipping.per_unit.thresholds", "norm in [1e-12, 1e12]"},
        OptionRule{"TinyClipNorm", PRIVACY("clip_norm: 9e-13"), "privacy.clip_norm",
                   "in [1e-12, 1e12]"},
        OptionRule{"HugeClipNorm", PRIVACY("clip_norm: 1.1e12"), "privacy.clip_norm",
                   "in [1e-12, 1e12]"},
        OptionRule{"SmallestClipNorm", PRIVACY("clip_norm: 1e-12"), "", ""},
        OptionRule{"LargestClipNorm", PRIVACY("clip_norm: 1e12"), "", ""},
        OptionRule{"ClipNormThatFallsTooFar",
                   PRIVACY("clip_norm: 1e-9, clip_schedule: {cosine: {final_fraction: 1e-5}}"),
                   "privacy.clip_schedule", "in [1e-12, 1e12] up to the last step"},
        OptionRule{"ClipNormThatRisesTooFar",
                   PRIVACY("clip_norm: 1e9, clip_schedule: {step: {every_steps: 50, factor: 10}}"),
                   "privacy.clip_schedule", "in [1e-12, 1e12] up to the last step"},
        OptionRule{"TinyAdaptiveMinimum", PRIVACY("clipping: {adaptive: {minimum: 1e-13}}"),
                   "privacy.clipping.adaptive.minimum", "in [1e-12, 1e12]"},
        OptionRule{"HugeAdaptiveMaximum", PRIVACY("clipping: {adaptive: {maximum: 1e308}}"),
                   "privacy.clipping.adaptive.maximum", "in [1e-12, 1e12]"},
        OptionRule{"Gamma", PRIVACY("clipping: {automatic: {gamma: 9e-10}}"),
                   "privacy.clipping.automatic.gamma", "in [1e-9, 1e6]"},
        OptionRule{"SmallestGamma", PRIVACY("clipping: {automatic: {gamma: 1e-9}}"), "", ""},
        OptionRule{"Quantile", PRIVACY("clipping: {adaptive: {target_quantile: 1}}"),
                   "privacy.clipping.adaptive.target_quantile", "[0.001, 0.999]"},
        OptionRule{"QuantileRate", PRIVACY("clipping: {adaptive: {learning_rate: -1}}"),
                   "privacy.clipping.adaptive.learning_rate", "positive"},
        OptionRule{"ClipNormBelowItsMinimum",
                   PRIVACY("clip_norm: 0.5, clipping: {adaptive: {minimum: 0.6}}"),
                   "privacy.clipping.adaptive.minimum", "at most clip_norm 0.5"},
        OptionRule{"ClipNormAboveItsMaximum", PRIVACY("clipping: {adaptive: {maximum: 0.9}}"),
                   "privacy.clipping.adaptive.maximum", "at least clip_norm 1"},
        OptionRule{
            "TwoRulesForTheClipNorm",
            PRIVACY("clipping: {adaptive: {}}, clip_schedule: {linear: {final_fraction: 0.5}}"),
            "privacy.clip_schedule", "excludes clipping.adaptive"},
        OptionRule{"ClipScheduleWithoutAnEnd", PRIVACY("clip_schedule: {linear: {}}"),
                   "privacy.clip_schedule.linear.final_fraction", "must be given"},
        OptionRule{"NoiseScheduleToNothing",
                   PRIVACY("noise_schedule: {cosine: {final_fraction: 0}}"),
                   "privacy.noise_schedule.cosine.final_fraction", "[1e-6, 1e6]"},
        OptionRule{"NoiseStairsWithoutFactor", PRIVACY("noise_schedule: {step: {every_steps: 50}}"),
                   "privacy.noise_schedule.step.factor", "must be given"},
        OptionRule{"NoiseStairsThatVanish",
                   PRIVACY("noise_schedule: {step: {every_steps: 50, factor: 0.01}}"),
                   "privacy.noise_schedule.step.factor", "within 1e-6 and 1e6"},
        OptionRule{"TooManyNoiseStairs",
                   PRIVACY("noise_schedule: {step: {every_steps: 1, factor: 0.999}}"),
                   "privacy.noise_schedule.step.every_steps", "at most 255 times"},
        OptionRule{"AccuracyOfALanguageModel", PRIVACY("metrics: {accuracy_multiplier: 8}"),
                   "privacy.metrics.accuracy_multiplier", "needs a model that finds labels"},
        OptionRule{"ClipSchedule",
                   PRIVACY("clip_schedule: {step: {every_steps: 1, factor: 0.999}}"), "", ""}),
    [](const auto& info) { return info.param.name; });

// train.steps is left out: how far a schedule gets is known once the steps are.
#define SOLVED(x)                                                    \
  "train: {expected_batch_size: 512, learning_rate: {peak: 1e-3}}\n" \
  "privacy: {epsilon: 3, noise_multiplier: 4, " x "}\n"

INSTANTIATE_TEST_SUITE_P(
    SolvedSteps, OptionRuleTest,
    ::testing::Values(
        OptionRule{"NoiseThatVanishes",  // ends before it does
                   SOLVED("noise_schedule: {step: {every_steps: 100, factor: 1e-9}}"), "", ""},
        OptionRule{"NoiseThatGrows", SOLVED("noise_schedule: {step: {every_steps: 10, factor: 3}}"),
                   "privacy.noise_schedule.step.factor", "within 1e-6 and 1e6"},
        OptionRule{"NoiseThatGrowsBeyondNumbers",
                   SOLVED("noise_schedule: {step: {every_steps: 10, factor: 1e300}}"),
                   "privacy.noise_schedule.step.factor", "within 1e-6 and 1e6"},
        OptionRule{"ClipNormThatVanishes",
                   SOLVED("clip_schedule: {step: {every_steps: 1, factor: 0.5}}"),
                   "privacy.clip_schedule.step.factor", "within 1e-6 and 1e6"},
        OptionRule{"ClipNormOutOfRange",
                   SOLVED("clip_norm: 1e-11, clip_schedule: {linear: {final_fraction: 0.01}}"),
                   "privacy.clip_schedule", "in [1e-12, 1e12] up to the last step"},
        OptionRule{"LearningRateThatGrows",
                   "train: {expected_batch_size: 512, learning_rate: {peak: 1, step: {every_steps: "
                   "1, factor: 1.1}}}\nprivacy: {epsilon: 3, noise_multiplier: 4}\n",
                   "train.learning_rate.step.factor", "must keep the learning rate at most 1e6"},
        OptionRule{"SlowNoise", SOLVED("noise_schedule: {step: {every_steps: 1000, factor: 0.9}}"),
                   "", ""}),
    [](const auto& info) { return info.param.name; });

#define TRAIN(x) "train: {expected_batch_size: 512, steps: 300, " x "}\n"

INSTANTIATE_TEST_SUITE_P(
    Training, OptionRuleTest,
    ::testing::Values(
        OptionRule{"LinearRate", TRAIN("learning_rate: {peak: 1, linear: {final_fraction: 2}}"),
                   "train.learning_rate.linear.final_fraction", "[0, 1]"},
        OptionRule{"StepRateWithoutSteps", TRAIN("learning_rate: {peak: 1, step: {factor: 0.5}}"),
                   "train.learning_rate.step.every_steps", "must be given, 1 to 2^32"},
        OptionRule{"StepRateThatGrowsBeyondNumbers",
                   TRAIN("learning_rate: {peak: 1, step: {every_steps: 10, factor: 10}}"),
                   "train.learning_rate.step.factor", "at most 1e6 in 300 steps"},
        OptionRule{"StepRateThatVanishes",
                   TRAIN("learning_rate: {peak: 1, step: {every_steps: 10, factor: 0.1}}"), "", ""},
        OptionRule{"DecayThatTurnsWeights",
                   TRAIN("learning_rate: {peak: 0.5}, optimizer: {sgd: {weight_decay: 2.1}}"),
                   "train.optimizer.sgd.weight_decay", "at most 1 / learning_rate.peak, 2,"},
        OptionRule{"DecayToZero",
                   TRAIN("learning_rate: {peak: 0.5}, optimizer: {adamw: {weight_decay: 2}}"), "",
                   ""},
        OptionRule{"StepRateWithoutFactor",
                   TRAIN("learning_rate: {peak: 1, step: {every_steps: 5}}"),
                   "train.learning_rate.step.factor", "must be given"},
        OptionRule{
            "Floor",
            TRAIN("learning_rate: {peak: 1}, optimizer: {adamw: {noise_correction: {floor: -1}}}"),
            "train.optimizer.adamw.noise_correction.floor", "positive"},
        OptionRule{"AliasUnderAnotherStrategy",
                   "gradient: {mode: flash_fsdp_fuse_bk}\nworkers: {strategy: NO_SHARD}\n",
                   "workers.strategy", "must be FULL_SHARD with mode flash_fsdp_fuse_bk"},
        OptionRule{"Alias", "gradient: {mode: ghost_fsdp}\n", "", ""},
        OptionRule{"OffloadedParameters", "workers: {offload: {parameters: true}}\n",
                   "workers.offload.parameters", "needs a GPU"},
        OptionRule{"OffloadedGradients", "workers: {offload: {gradients: true}}\n",
                   "workers.offload.gradients", "needs a GPU"},
        OptionRule{"OffloadedOptimizer", "workers: {offload: {optimizer_state: true}}\n",
                   "workers.offload.optimizer_state", "needs a GPU"},
        OptionRule{"GroupsWithoutHybrid", "workers: {count: 4, shard_group_size: 2}\n",
                   "workers.shard_group_size", "only HYBRID_SHARD"},
        OptionRule{"GroupsThatDoNotDivide",
                   "workers: {count: 4, strategy: HYBRID_SHARD, shard_group_size: 3}\n",
                   "workers.shard_group_size", "divide the 4 workers"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Models, OptionRuleTest,
    ::testing::Values(
        OptionRule{"LlamaHeads",
                   "model: {llama: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "key_value_heads: 3, hidden_width: 64, max_length: 32}}\n",
                   "model.llama.key_value_heads", "divide the heads 4"},
        OptionRule{"LlamaWithoutHiddenWidth",
                   "model: {llama: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}}\n",
                   "model.llama.hidden_width", "1 to 1048576"},
        OptionRule{"LlamaOddHeads",
                   "model: {llama: {vocabulary_size: 257, width: 20, layers: 1, heads: 4, "
                   "hidden_width: 64, max_length: 32}}\n",
                   "model.llama.heads", "even width"},
        OptionRule{"QwensNorms",
                   "model: {llama: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "hidden_width: 64, max_length: 32, query_key_norm: true}}\n",
                   "", ""},
        OptionRule{"RotaryScaling",
                   "model: {llama: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "hidden_width: 64, max_length: 32, rotary_scaling: {kind: LINEAR}}}\n",
                   "model.llama.rotary_scaling.factor", "at least 1"},
        OptionRule{"ImagesOfTokens",
                   "model: {cnn: {channels: 3, height: 8, width: 8, stage_channels: [8], "
                   "outputs: 3}}\n",
                   "data.dataset", "must hold values of the model's shape 3 x 8 x 8"},
        OptionRule{"MlpOfTokens", "model: {mlp: {inputs: 8, outputs: 3}}\n", "data.dataset",
                   "must hold values of the model's shape 1 x 1 x 8"},
        OptionRule{"EncoderClasses",
                   "model: {encoder: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}}\n",
                   "model.encoder.classes", "2 to 1048576", "add_or_remove_one", /*classes=*/1},
        OptionRule{"LoraRank",
                   "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}, adaptation: {lora: {}}}\n",
                   "model.adaptation.lora.rank", "1 to 65536"},
        OptionRule{"LoraOfNoLayer",
                   "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}, adaptation: {lora: {rank: 2, targets: [c_attn, mlp]}}}\n",
                   "model.adaptation.lora.targets[1]",
                   "must name a linear map of a block (attn.c_attn, attn.c_proj, mlp.c_fc, "
                   "mlp.c_proj), but is \"mlp\""},
        OptionRule{"FrozenThatIsNot",
                   "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}, adaptation: {frozen: [\"wte.*\", \"h.9.*\"]}}\n",
                   "model.adaptation.frozen[1]",
                   "must match the name of a parameter (wte.weight, wpe.weight, "},
        OptionRule{"AllFrozen",
                   "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                   "max_length: 32}, adaptation: {frozen: [\"*\"]}}\n",
                   "model.adaptation", "leaves no parameter to train"}),
    [](const auto& info) { return info.param.name; });

#define ENCODER(classes)                                                                 \
  "model: {encoder: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, max_length: " \
  "32, classes: " classes "}}\n"

INSTANTIATE_TEST_SUITE_P(
    Data, OptionRuleTest,
    ::testing::Values(
        OptionRule{"EncoderWithoutLabels", ENCODER("4"), "data.dataset", "must have labels"},
        OptionRule{"EncoderOfFewerClasses", ENCODER("4"), "model.encoder.classes",
                   "at least the dataset's 5", "add_or_remove_one", /*classes=*/5},
        OptionRule{"EncoderOfTheClasses", ENCODER("5"), "", "", "add_or_remove_one", /*classes=*/5},
        OptionRule{"LanguageModelOfLabelledText", kGpt2, "", "", "add_or_remove_one",
                   /*classes=*/5},
        OptionRule{"LanguageModelOfImages", kGpt2, "data.dataset",
                   "must hold tokens for a model of family gpt2", "add_or_remove_one",
                   /*classes=*/5, /*holds_images=*/true},
        OptionRule{"EncoderOfImages", ENCODER("5"), "data.dataset",
                   "must hold tokens for a model of family encoder", "add_or_remove_one",
                   /*classes=*/5, /*holds_images=*/true}),
    [](const auto& info) { return info.param.name; });

TEST(OptionRulesTest, ModesThatDoNotClipTakeNeitherRulesNorNorms) {
  v1::JobSpec spec = MakeNotPrivateSpec();
  spec.mutable_gradient()->set_mode("no_dp");
  spec.mutable_privacy()->set_fixed_noise_multiplier(0.01);  // keyed noise on the plain sum
  ASSERT_TRUE(spec.privacy().has_clip_norm()) << "which the noise follows";
  EXPECT_OK(Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true}));
  spec.mutable_gradient()->set_deferred_norms(true);
  spec.mutable_privacy()->mutable_clipping()->mutable_automatic();
  const absl::Status status =
      Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true}).status();
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("gradient.deferred_norms has no meaning with mode no_dp")));
  EXPECT_THAT(status.message(), HasSubstr("privacy.clipping has no meaning"));
}

TEST(OptionRulesTest, WithoutClippingAndNoiseAClipNormHasNoMeaning) {
  v1::JobSpec spec = MakeNotPrivateSpec();
  spec.mutable_gradient()->set_mode("no_dp");
  spec.mutable_privacy()->mutable_clip_schedule()->mutable_linear()->set_final_fraction(0.5);
  const auto plan = [&] {
    return Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true});
  };
  std::vector<std::string> fields;
  for (const spec::Violation& violation : spec::ViolationsOf(plan().status())) {
    EXPECT_THAT(violation.rule, HasSubstr("has no meaning with mode no_dp"));
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields,
              ::testing::UnorderedElementsAre("privacy.clip_norm", "privacy.clip_schedule"));
  spec.mutable_privacy()->clear_clip_norm();
  spec.mutable_privacy()->clear_clip_schedule();
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan planned, plan());
  EXPECT_FALSE(planned.spec().privacy().has_clip_norm());
  EXPECT_EQ(planned.privacy().clip_norm(), 1);
  spec = planned.spec();  // What a plan says may be asked for again.
  EXPECT_OK(plan());
}

TEST(OptionRulesTest, AnUnknownDatasetHidesNoOtherRule) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->set_clip_norm(-1);
  spec.mutable_gradient()->set_mode("magic");
  std::vector<std::string> fields;
  const absl::Status status = Plan(spec, v1::DatasetFacts(), MakeDemoHost()).status();
  for (const spec::Violation& violation : spec::ViolationsOf(status)) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, ::testing::UnorderedElementsAre("data.dataset", "privacy.clip_norm",
                                                      "gradient.mode"));
}

}  // namespace
}  // namespace sotto::planning
