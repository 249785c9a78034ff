// Plans of jobs that do not train, and specs that break one of their rules.
#include "server/planning/inference_planner.h"

#include <functional>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/spec/spec_parser.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Complete, as the caller makes it.
constexpr char kModel[] =
    "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, max_length: 32}, "
    "hugging_face_directory: /models/tiny}\n";

InferenceFacts MakeFacts() {
  InferenceFacts facts;
  facts.prompts = PromptFacts{.prompts = 5, .sha256 = "abc", .longest = 8, .largest_token = 256};
  return facts;
}

absl::StatusOr<v1::JobPlan> PlanOf(const std::string& yaml, const InferenceFacts& facts) {
  const bool has_model = yaml.find("model:") != std::string::npos;
  absl::StatusOr<v1::JobSpec> spec =
      spec::ParseJobSpec((has_model ? "" : kModel) + yaml, spec::Format::kYaml);
  if (!spec.ok()) return spec.status();
  return PlanInference(*spec, facts, MakeDemoHost());
}

#define PROMPTS "prompt_file: /p, output: /o"
#define GENERATE(fields) "inference: {" PROMPTS ", generate: {" fields "}}\n"

TEST(InferencePlanTest, FillsDefaultsAndSaysWhatIsRead) {
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan,
                       PlanOf(GENERATE("") "workers: {count: 2}\n", MakeFacts()));
  EXPECT_EQ(plan.protocol_version(), kProtocolVersion);
  EXPECT_EQ(plan.spec().name(), "generate");
  EXPECT_EQ(plan.spec().model().gpt2().hidden_width(), 128);
  EXPECT_EQ(plan.spec().inference().generate().max_new_tokens(), 24) << "what 32 leave behind 8";
  EXPECT_EQ(plan.inference().prompts(), 5);
  EXPECT_EQ(plan.inference().prompt_sha256(), "abc");
  EXPECT_EQ(plan.inference().longest_prompt(), 32);
  EXPECT_EQ(plan.inference().batch_size(), 8);
  EXPECT_TRUE(plan.privacy().not_private());
  EXPECT_EQ(plan.train().steps(), 0);
  EXPECT_GT(plan.train().parameters(), 0);
  EXPECT_EQ(plan.sharding().world_size(), 2);
  EXPECT_EQ(plan.sharding().threads_per_rank(), 4);
  EXPECT_EQ(plan.sharding().units_size(), 3);
  EXPECT_GT(plan.sharding().communicator_bytes(), 0);
  EXPECT_GT(plan.memory().parameters_bytes(), 0);
  EXPECT_EQ(plan.memory().gradient_bytes(), 0);
  EXPECT_EQ(plan.memory().optimizer_bytes(), 0);
  EXPECT_GT(plan.memory().total_bytes(),
            plan.memory().parameters_bytes() + plan.memory().baseline_bytes());
}

TEST(InferencePlanTest, KeepsWhatIsAskedFor) {
  ASSERT_OK_AND_ASSIGN(
      const v1::JobPlan plan,
      PlanOf(GENERATE("max_new_tokens: 3, temperature: 0.5, stop_tokens: [256], seed: 9"),
             MakeFacts()));
  EXPECT_EQ(plan.spec().inference().generate().max_new_tokens(), 3);
  EXPECT_EQ(plan.spec().inference().generate().top_p(), 1);
  EXPECT_EQ(plan.inference().longest_prompt(), 11);
}

TEST(InferencePlanTest, ACheckpointNeedsNoDirectory) {
  InferenceFacts facts = MakeFacts();
  facts.checkpoint_path = "/state/jobs/job-1/checkpoints/7";
  facts.note = "The weights are job-1's.";
  ASSERT_OK_AND_ASSIGN(
      const v1::JobPlan plan,
      PlanOf("model: {gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, max_length: "
             "32}, adaptation: {lora: {rank: 2}}}\n"
             "inference: {checkpoint_of_job: job-1, " PROMPTS ", score: {}}\n",
             facts));
  EXPECT_EQ(plan.inference().checkpoint_path(), facts.checkpoint_path);
  EXPECT_THAT(plan.notes(), ElementsAre(facts.note));
}

TEST(InferencePlanTest, MoreOfEverythingNeedsMoreMemory) {
  const auto bytes = [](const std::string& yaml) {
    const absl::StatusOr<v1::JobPlan> plan = PlanOf(yaml, MakeFacts());
    EXPECT_OK(plan);
    return plan.ok() ? plan->memory() : v1::MemoryPlan();
  };
  const v1::MemoryPlan few = bytes("inference: {batch_size: 4, " PROMPTS ", score: {}}\n");
  const v1::MemoryPlan many = bytes("inference: {batch_size: 64, " PROMPTS ", score: {}}\n");
  EXPECT_GT(many.activations_bytes(), few.activations_bytes());
  // Keys and values: 2 x 2 blocks x 4 texts x 9 tokens x width 32; score reads 8 tokens.
  const v1::MemoryPlan cached = bytes(GENERATE("max_new_tokens: 1") "workers: {count: 2}\n");
  EXPECT_GE(cached.activations_bytes(), few.activations_bytes() + 4 * 2 * 2 * 4 * 9 * 32);
  const v1::MemoryPlan whole =
      bytes("inference: {" PROMPTS ", score: {}}\nworkers: {count: 2, strategy: NO_SHARD}\n");
  const v1::MemoryPlan sharded =
      bytes("inference: {" PROMPTS ", score: {}}\nworkers: {count: 2}\n");
  EXPECT_GT(whole.parameters_bytes(), sharded.parameters_bytes());
  EXPECT_EQ(whole.slots_bytes(), 0);
  EXPECT_EQ(bytes("inference: {output: /o, edit: {projections: /e}}\n").activations_bytes(), 0);
}

TEST(InferencePlanTest, WhatTheHostCannotHoldIsRefused) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec spec,
                       spec::ParseJobSpec(std::string(kModel) + GENERATE(""), spec::Format::kYaml));
  HostFacts host = MakeDemoHost();
  host.memory_bytes = int64_t{16} << 20;
  EXPECT_THAT(PlanInference(spec, MakeFacts(), host),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("and the host has 16777216")));
}

TEST(InferencePlanTest, TrainingIsPlannedWithoutInference) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_inference()->mutable_score();
  EXPECT_THAT(Plan(spec, MakeDemoDataset(), MakeDemoHost()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("inference must be left out of a job that trains")));
}

struct InferenceRule {
  const char* name;
  std::string yaml;
  std::string field;
  std::string rule;
  std::function<void(InferenceFacts&)> change = [](InferenceFacts&) {};
};
class InferenceRuleTest : public ::testing::TestWithParam<InferenceRule> {};

TEST_P(InferenceRuleTest, IsTheOnlyViolation) {
  InferenceFacts facts = MakeFacts();
  GetParam().change(facts);
  const absl::StatusOr<v1::JobPlan> plan = PlanOf(GetParam().yaml, facts);
  ASSERT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
  ASSERT_EQ(violations.size(), 1) << plan.status();
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_THAT(violations[0].rule, HasSubstr(GetParam().rule));
}

#define NOT_TRAINED "must be left out: inference does not train"

INSTANTIATE_TEST_SUITE_P(
    TrainingFields, InferenceRuleTest,
    ::testing::Values(
        InferenceRule{"Data", GENERATE("") "data: {dataset: d}\n", "data", NOT_TRAINED},
        InferenceRule{"Privacy", GENERATE("") "privacy: {epsilon: 1}\n", "privacy", NOT_TRAINED},
        InferenceRule{"Train", GENERATE("") "train: {steps: 1}\n", "train", NOT_TRAINED},
        InferenceRule{"Gradient", GENERATE("") "gradient: {mode: auto}\n", "gradient", NOT_TRAINED},
        InferenceRule{"Checkpoint", GENERATE("") "checkpoint: {keep: 1}\n", "checkpoint",
                      NOT_TRAINED},
        InferenceRule{"Adaptation",
                      "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, "
                      "max_length: 32}, hugging_face_directory: /m, adaptation: {bias_only: "
                      "true}}\n" GENERATE(""),
                      "model.adaptation", NOT_TRAINED},
        InferenceRule{"Reshard", GENERATE("") "workers: {reshard_after_forward: {none: true}}\n",
                      "workers.reshard_after_forward", NOT_TRAINED},
        InferenceRule{"CheckedOperations", GENERATE("") "workers: {check_operations: true}\n",
                      "workers.check_operations",
                      "must be left out: it checks the operations of a training's schedule"},
        InferenceRule{"ClearedCaches", GENERATE("") "workers: {clear_caches_every_steps: 1}\n",
                      "workers.clear_caches_every_steps", NOT_TRAINED}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Weights, InferenceRuleTest,
    ::testing::Values(
        InferenceRule{"Nowhere",
                      "model: {gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, "
                      "max_length: 32}}\n" GENERATE(""),
                      "model.hugging_face_directory", "there are no weights to read"},
        InferenceRule{"Encoder",
                      "model: {encoder: {vocabulary_size: 257, width: 32, layers: 1, heads: 4, "
                      "max_length: 32, classes: 2}, hugging_face_directory: /m}\n" GENERATE(""),
                      "model", "must be a language model"},
        InferenceRule{"NoCheckpoint",
                      "model: {}\ninference: {checkpoint_of_job: job-1, " PROMPTS
                      ", generate: {stop_tokens: [5]}}\n",
                      "inference.checkpoint_of_job", "must be a job with a checkpoint",
                      [](auto& facts) {
                        facts.violations.push_back({"inference.checkpoint_of_job",
                                                    "must be a job with a checkpoint", "job-1"});
                      }},
        InferenceRule{"MoreWorkersThanSlots", GENERATE("") "workers: {count: 5}\n", "workers.count",
                      "1 to the coordinator's 4 slots"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Files, InferenceRuleTest,
    ::testing::Values(
        InferenceRule{"NoKind", "inference: {" PROMPTS "}\n", "inference", "must say what to do"},
        InferenceRule{"NoPrompts", "inference: {output: /o, score: {}}\n", "inference.prompt_file",
                      "must be given", [](auto& facts) { facts.prompts.reset(); }},
        InferenceRule{"PromptsOfAnEdit", "inference: {" PROMPTS ", edit: {projections: /e}}\n",
                      "inference.prompt_file", "an edit reads none"},
        InferenceRule{"NoOutput", "inference: {prompt_file: /p, score: {}}\n", "inference.output",
                      "must be given"},
        InferenceRule{"Found", GENERATE(""), "inference.output", "must not exist",
                      [](auto& facts) {
                        facts.violations.push_back({"inference.output", "must not exist", "/o"});
                      }},
        InferenceRule{"TokenOutsideVocabulary", GENERATE(""), "inference.prompt_file",
                      "below the model's vocabulary of 257",
                      [](auto& facts) { facts.prompts->largest_token = 257; }},
        InferenceRule{"TextForAnotherVocabulary",
                      "model: {gpt2: {vocabulary_size: 300, width: 32, layers: 2, heads: 4, "
                      "max_length: 32}, hugging_face_directory: /m}\n" GENERATE(""),
                      "inference.prompt_file", "tokens instead of text",
                      [](auto& facts) { facts.prompts->has_text = true; }},
        InferenceRule{"TextAloneIsNamed",
                      "model: {gpt2: {vocabulary_size: 97, width: 32, layers: 2, heads: 4, "
                      "max_length: 32}, hugging_face_directory: /m}\n" GENERATE(""),
                      "inference.prompt_file", "tokens instead of text",
                      [](auto& facts) {
                        facts.prompts->has_text = true;
                        facts.prompts->largest_token = 98;
                      }},
        InferenceRule{"NoRoomForAToken", GENERATE(""), "inference.prompt_file",
                      "at most 31 tokens a line", [](auto& facts) { facts.prompts->longest = 32; }},
        InferenceRule{"TooLongToScore", "inference: {" PROMPTS ", score: {}}\n",
                      "inference.prompt_file", "at most 32 tokens a line",
                      [](auto& facts) { facts.prompts->longest = 33; }}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Values, InferenceRuleTest,
    ::testing::Values(
        InferenceRule{"BatchSize", "inference: {batch_size: 1025, " PROMPTS ", score: {}}\n",
                      "inference.batch_size", "1 to 1024"},
        InferenceRule{"TooManyNewTokens", GENERATE("max_new_tokens: 25"),
                      "inference.generate.max_new_tokens", "at most 24: the longest prompt has 8"},
        InferenceRule{"NegativeNewTokens", GENERATE("max_new_tokens: -1"),
                      "inference.generate.max_new_tokens", "at least 1"},
        InferenceRule{"Temperature", GENERATE("temperature: -0.5"),
                      "inference.generate.temperature", "at least 0"},
        InferenceRule{"TopP", GENERATE("temperature: 1, top_p: 1.5"), "inference.generate.top_p",
                      "in (0, 1]"},
        InferenceRule{"TopKWithoutTemperature", GENERATE("top_k: 5"), "inference.generate.top_k",
                      "without a temperature nothing is drawn"},
        InferenceRule{"StopToken", GENERATE("stop_tokens: [10, 257]"),
                      "inference.generate.stop_tokens[1]", "below the model's vocabulary of 257"},
        InferenceRule{"NoLayers", "inference: {" PROMPTS ", capture: {}}\n",
                      "inference.capture.layers", "at least one block"},
        InferenceRule{"LayerBeyondTheLast", "inference: {" PROMPTS ", capture: {layers: [0, 3]}}\n",
                      "inference.capture.layers[1]", "0 to 2"},
        InferenceRule{"LayerTwice", "inference: {" PROMPTS ", capture: {layers: [1, 1]}}\n",
                      "inference.capture.layers[1]", "each once"},
        InferenceRule{"NoProjections", "inference: {output: /o, edit: {}}\n",
                      "inference.edit.projections", "must be given",
                      [](auto& facts) { facts.prompts.reset(); }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sotto::planning
