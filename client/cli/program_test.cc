#include "client/cli/program.h"

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/cli/plan_text.h"
#include "client/cli/table.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace sotto::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() : directory_(*MakeTempDir(::testing::TempDir() + "/program-")) {}

  Outcome Run(std::vector<std::string> arguments) {
    std::ostringstream out;
    std::ostringstream err;
    Context context{.out = out, .err = err};
    // No coordinator of the machine is ever asked.
    arguments.insert(arguments.begin(), "--state_dir=" + directory_ + "/state");
    const int code = RunProgram(std::move(arguments), context);
    return {.code = code, .out = out.str(), .err = err.str()};
  }
  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = directory_ + "/" + name;
    EXPECT_OK(AtomicWriteFile(path, content));
    return path;
  }

  const std::string directory_;
};

TEST_F(ProgramTest, EpsilonAnswersOfflineAsJson) {
  const Outcome outcome = Run({"epsilon", "--noise_multiplier", "1", "--sampling_rate", "0.01",
                               "--steps", "1000", "--delta", "1e-5", "--output", "json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto document = nlohmann::json::parse(outcome.out);
  // Truth 1.8282367, the best RDP bound 2.10.
  EXPECT_GE(document["epsilon"], 1.8282367);
  EXPECT_LE(document["epsilon"], 2.11);
}

TEST_F(ProgramTest, SigmaReachesTheEpsilonThatWasAsked) {
  const Outcome outcome = Run({"--output", "jsonl", "sigma", "--epsilon", "3", "--sampling_rate",
                               "0.01", "--steps", "1000", "--delta", "1e-5"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto document = nlohmann::json::parse(outcome.out);
  EXPECT_GT(document["noise_multiplier"], 0.5);
  EXPECT_LE(document["epsilon"], 3);
  EXPECT_GT(document["epsilon"], 2.99);
}

TEST_F(ProgramTest, WrongNumbersNameTheValueAndExitWithUsage) {
  const Outcome outcome = Run({"epsilon", "--noise_multiplier", "-1", "--sampling_rate", "2",
                               "--steps", "0", "--delta", "1e-5"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("noise_multiplier"), HasSubstr("-1"),
                                 HasSubstr("sampling_rate"), HasSubstr("steps")));
}

TEST_F(ProgramTest, WithoutACoordinatorTheErrorSaysWhatToDo) {
  for (const char* verb : {"list", "get job-1", "watch job-1", "wait job-1", "cancel job-1",
                           "logs job-1", "pause job-1", "resume job-1"}) {
    const Outcome outcome = Run(absl::StrSplit(verb, ' '));
    EXPECT_EQ(outcome.code, 4) << verb;
    EXPECT_THAT(outcome.err, HasSubstr("sotto run")) << verb;
  }
}

TEST_F(ProgramTest, AnAddressWhereNobodyListensIsUnreachable) {
  const Outcome outcome = Run({"list", "--address", "unix:" + directory_ + "/no.sock"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("no.sock"));
}

TEST_F(ProgramTest, EveryVerbHasHelpWithAnExample) {
  for (const char* verb :
       {"run",           "submit",      "plan",         "watch",        "wait",
        "list",          "get",         "cancel",       "logs",         "export",
        "data prepare",  "dataset add", "dataset list", "dataset show", "ledger show",
        "ledger verify", "epsilon",     "sigma",        "version",      "generate",
        "score",         "capture",     "edit",         "pause",        "resume"}) {
    std::vector<std::string> arguments = absl::StrSplit(verb, ' ');
    arguments.push_back("--help");
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, 0) << verb;
    EXPECT_THAT(outcome.out, HasSubstr(std::string("Example: sotto ") + verb)) << verb;
  }
}

TEST_F(ProgramTest, UnknownVerbsAndOptionsAreUsageErrors) {
  EXPECT_EQ(Run({}).code, 2);
  EXPECT_EQ(Run({"frobnicate"}).code, 2);
  EXPECT_EQ(Run({"list", "--frobnicate"}).code, 2);
  EXPECT_EQ(Run({"list", "--output", "xml"}).code, 2);
  EXPECT_EQ(Run({"submit"}).code, 2);
}

TEST_F(ProgramTest, InferenceVerbsRefuseWhatTheyCannotAskFor) {
  struct Case {
    std::string arguments;
    std::string said;
  };
  for (const Case& c : std::vector<Case>{
           {"generate --out o --prompts p", "--model or by --job, but neither is given"},
           {"generate --out o --prompts p --model m --job j", "but both are given"},
           {"generate --out o --model m", "--prompts is required"},
           {"generate --prompts p --model m", "--out is required"},
           {"generate --out o --prompts p --model m --temperature -1",
            "--temperature: must be at least 0, but is -1"},
           {"generate --out o --prompts p --model m --max_new_tokens 0",
            "--max_new_tokens: must be at least 1, but is 0"},
           {"generate --out o --prompts p --model m --temperature 1 --top_p 0",
            "--top_p: must be in (0, 1], but is 0"},
           {"generate --out o --prompts p --model m --temperature 1 --top_k 0",
            "--top_k: must be at least 1, but is 0"},
           {"generate --out o --prompts p --model m --workers 0",
            "--workers: must be at least 1, but is 0"},
           {"generate --out o --prompts p --model m --slots 0",
            "--slots: must be at least 1, but is 0"},
           {"run job.yaml --slots -2", "--slots: must be at least 1, but is -2"},
           {"score --out o --prompts p --model m --batch_size -3",
            "--batch_size: must be at least 1, but is -3"},
           {"score --out o --prompts p --model m --strategy ZERO", "but is ZERO"},
           {"capture --out o --prompts p --model m", "--layers is required"},
           {"capture --out o --prompts p --model m --layers one", "--layers"},
           {"edit --out o --projections p --model m --scale 0", "--scale: must not be 0"},
           {"edit --out o --projections p --model m --prompts p", "--prompts"}}) {
    const Outcome outcome = Run(absl::StrSplit(c.arguments, ' '));
    EXPECT_EQ(outcome.code, 2) << c.arguments;
    EXPECT_THAT(outcome.err, HasSubstr(c.said)) << c.arguments;
  }
}

TEST_F(ProgramTest, ResumeRefusesWorkersThatNobodyCanHave) {
  for (const auto& [arguments, said] : std::vector<std::pair<std::string, std::string>>{
           {"resume", "job is required"},
           {"resume job-1 --workers 0", "--workers: must be at least 1, but is 0"},
           {"resume job-1 --strategy ZERO", "or NO_SHARD, but is ZERO"},
           {"resume job-1 --shard_group_size -1", "--shard_group_size: must be at least 1"}}) {
    const Outcome outcome = Run(absl::StrSplit(arguments, ' '));
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(said)) << arguments;
  }
}

TEST_F(ProgramTest, AMalformedSpecIsRefusedBeforeAnyCoordinatorIsAsked) {
  const Outcome outcome = Run({"submit", Write("job.yaml", "name: a\nname: b\nmodle: {}\n")});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("job.yaml"), HasSubstr("line 2"), HasSubstr("line 3"),
                                 HasSubstr("modle")));
}

TEST_F(ProgramTest, AMissingSpecIsNotFound) {
  const Outcome outcome = Run({"submit", directory_ + "/none.yaml"});
  EXPECT_EQ(outcome.code, 7);
  EXPECT_THAT(outcome.err, HasSubstr("none.yaml"));
}

TEST_F(ProgramTest, DataPrepareReportsWhatItWrote) {
  const std::string input = Write("in.txt", "one\n%\ntwo\n%\nthree\n");
  const Outcome outcome = Run({"data", "prepare", input, "--format", "percent", "--max_length", "4",
                               "--out", directory_ + "/out.tokens", "--output", "json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto document = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(document["dataset"]["records"], 3);
  EXPECT_EQ(document["dataset"]["truncated_records"], 1);
  EXPECT_EQ(document["dataset"]["sha256"].get<std::string>().size(), 64);
  EXPECT_FALSE(document.contains("holdout"));
}

TEST_F(ProgramTest, DataPrepareRefusesAnUnknownFormat) {
  const Outcome outcome = Run({"data", "prepare", Write("in.txt", "a\n"), "--format", "parquet",
                               "--max_length", "4", "--out", directory_ + "/o"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("parquet"), HasSubstr("jsonl")));
}

TEST_F(ProgramTest, ExportNeedsExactlyOneSource) {
  const Outcome outcome = Run({"export", "--out", directory_ + "/model"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--checkpoint"));
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({"A", "LONG"});
  table.AddRow({"xyz", "1"});
  EXPECT_EQ(table.ToString(), "A    LONG\nxyz  1\n");
}

TEST(PlanTextTest, SaysHowBatchesAreDrawnWhatEachSegmentAddsAndWhatLayersDo) {
  v1::JobPlan plan;
  v1::PrivacyPlan& privacy = *plan.mutable_privacy();
  privacy.set_adjacency("replace_one");
  privacy.set_sensitivity_factor(2);
  privacy.set_planned_steps(61);
  privacy.set_charged_steps(8);
  privacy.mutable_sampler()->set_kind(v1::SamplerPlan::SHUFFLED);
  privacy.mutable_sampler()->set_batch_places(512);
  privacy.mutable_sampler()->set_steps_per_epoch(10);
  privacy.mutable_clipping()->set_rule(v1::ClippingPlan::PER_UNIT);
  privacy.mutable_clipping()->add_unit_thresholds(0.5);
  privacy.add_segments()->set_noise_multiplier(2);
  v1::NoiseSegment& later = *privacy.add_segments();
  later.set_first_step(30);
  later.set_noise_multiplier(1.25);
  for (const char* name : {"h.0.c_fc", "h.1.c_fc"}) {
    v1::LayerPlan& layer = *plan.mutable_sharding()->add_layers();
    layer.set_name(name);
    layer.set_kind("linear");
    layer.mutable_mode()->set_norm(v1::UnitMode::TILED);
    layer.mutable_mode()->set_kept(v1::UnitMode::OUTPUT_GRADS);
    layer.set_predicted_seconds(0.001);
  }
  plan.mutable_sharding()->mutable_layers(1)->set_note("frozen");
  const std::string text = PlanText(plan);
  for (const char* part :
       {"512 places a batch, 10 steps an epoch", "replace_one: an example moves the sum by 2 clip",
        "per unit, at 0.5", "sigma from step 30", "1.25", "for 8 epochs, 1 of them a reserve",
        "linear: tiled output_grads, 1 ms", "linear: tiled output_grads (frozen)"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(PlanTextTest, SaysTheModeThatLayersHaveOrThatTheyDiffer) {
  v1::JobPlan plan;
  v1::ShardingPlan& sharding = *plan.mutable_sharding();
  sharding.set_mode_name("auto");
  sharding.mutable_mode()->set_norm(v1::UnitMode::FROM_GRADIENT);
  sharding.mutable_mode()->set_kept(v1::UnitMode::EXAMPLE_GRADS);
  EXPECT_THAT(PlanText(plan), HasSubstr(" auto: from_gradient example_grads\n"));
  for (const char* name : {"layers.0", "layers.1"}) {
    v1::LayerPlan& layer = *sharding.add_layers();
    layer.set_name(name);
    layer.mutable_mode()->set_norm(v1::UnitMode::TILED);
    layer.mutable_mode()->set_kept(v1::UnitMode::OUTPUT_GRADS);
  }
  EXPECT_THAT(PlanText(plan), HasSubstr(" auto: tiled output_grads\n"));
  *sharding.mutable_layers(1)->mutable_mode() = sharding.mode();
  EXPECT_THAT(PlanText(plan), HasSubstr(" auto: mixed\n"));
}

TEST(PlanTextTest, SaysWhatAccuracyAddsOnlyWhereItLeaves) {
  v1::JobPlan plan;
  plan.mutable_privacy()->set_clip_fraction_noise_multiplier(8);
  EXPECT_THAT(PlanText(plan), AllOf(HasSubstr("clip fraction 8\n"), Not(HasSubstr("accuracy"))));
  plan.mutable_privacy()->set_accuracy_noise_multiplier(12);
  EXPECT_THAT(PlanText(plan), HasSubstr("clip fraction 8, accuracy 12\n"));
}

TEST(PlanTextTest, SaysWhatTheClipNormIsForWhereNothingIsClipped) {
  v1::JobPlan plan;
  v1::PrivacyPlan& privacy = *plan.mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_clip_norm(0.75);
  EXPECT_THAT(PlanText(plan), AllOf(HasSubstr("0.75 (applied"), HasSubstr(" flat\n")));
  plan.mutable_sharding()->mutable_mode()->set_norm(v1::UnitMode::NONE);
  EXPECT_THAT(PlanText(plan), AllOf(HasSubstr(" none\n"), Not(HasSubstr("clip norm"))));
  privacy.set_gradient_noise_multiplier(2);
  EXPECT_THAT(PlanText(plan), AllOf(HasSubstr(" none\n"), HasSubstr("0.75, for the noise alone")));
}

TEST(PlanTextTest, SaysWhenCachesAreCleared) {
  v1::JobPlan plan;
  EXPECT_THAT(PlanText(plan), Not(HasSubstr("caches")));
  plan.mutable_spec()->mutable_workers()->set_clear_caches_every_steps(50);
  EXPECT_THAT(PlanText(plan), HasSubstr("every 50 steps, after loading and after evaluations"));
}

TEST(PlanTextTest, SaysWhatIsChargedAndPromised) {
  v1::JobPlan plan;
  plan.mutable_privacy()->set_epsilon(2.5);
  plan.mutable_privacy()->set_delta(1e-6);
  plan.mutable_privacy()->set_planned_steps(40);
  plan.mutable_privacy()->set_charged_steps(44);
  plan.mutable_privacy()->set_reserved_epsilon(2.75);
  const std::string text = PlanText(plan);
  EXPECT_THAT(text, HasSubstr("2.5 at delta 1e-06 after 40 steps"));
  EXPECT_THAT(text, HasSubstr("epsilon 2.75 for 44 steps, 4 of them a reserve"));
  EXPECT_THAT(text, HasSubstr("by at most epsilon = 2.5, delta = 1e-06 if no attempt is lost, and "
                              "at most epsilon = 2.75, delta = 1e-06 with the crash reserve."));
  EXPECT_THAT(text, Not(HasSubstr("not private")));
}

TEST(PlanTextTest, SaysWhatInferenceReadsAndWrites) {
  v1::JobPlan plan;
  v1::InferenceSpec& spec = *plan.mutable_spec()->mutable_inference();
  spec.set_prompt_file("/p");
  spec.set_output("/o");
  spec.mutable_generate()->set_max_new_tokens(9);
  plan.mutable_inference()->set_prompts(5);
  plan.mutable_inference()->set_longest_prompt(20);
  plan.mutable_inference()->set_checkpoint_path("/checkpoints/7");
  plan.mutable_sharding()->set_world_size(2);
  plan.add_notes("The weights are job-1's.");
  const std::string text = PlanText(plan);
  EXPECT_THAT(
      text, AllOf(HasSubstr("generate at most 9 tokens, the likeliest each time"),
                  HasSubstr("5 of /p"), HasSubstr("20 tokens at most"), HasSubstr("/checkpoints/7"),
                  HasSubstr("/o\n"), HasSubstr("note: The weights are job-1's.")));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("privacy")), Not(HasSubstr("epsilon"))));
}

TEST(PlanTextTest, BytesHaveTheirUnit) {
  EXPECT_EQ(BytesText(999), "999 B");
  EXPECT_EQ(BytesText(1250000), "1.2 MB");
}

}  // namespace
}  // namespace sotto::cli
