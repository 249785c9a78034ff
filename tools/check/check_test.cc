// The commands on small models. Ranks are processes of this test's own executable.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/command.h"
#include "tools/check/gnuplot.h"
#include "tools/check/mode_comparison.h"
#include "tools/check/mode_json.h"
#include "tools/check/mode_plots.h"
#include "tools/check/mode_report.h"
#include "tools/check/preset.h"
#include "tools/check/program.h"
#include "tools/check/world_check.h"

namespace sotto::check {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

RunSettings SmallSettings() {
  RunSettings settings{.length = 12,
                       .records = 12,
                       .batch = 8,
                       .micro_batch = 3,
                       .steps = 3,
                       .learning_rate = 0.2,
                       .threads = 1};
  v1::Gpt2Spec& gpt2 = *settings.model.mutable_gpt2();
  gpt2.set_vocabulary_size(31);
  gpt2.set_width(16);
  gpt2.set_layers(2);
  gpt2.set_heads(2);
  gpt2.set_max_length(12);
  gpt2.set_init_stddev(0.2);
  return settings;
}

absl::StatusOr<ModeComparison> Compare(Preset preset) {
  return CompareModes(preset, /*checkpoint_folder=*/"", [](const std::string&) {});
}

std::string TempFolder() { return *MakeTempDir(::testing::TempDir() + "/check-"); }

int RunCommand(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "sotto-check");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return RunProgram(static_cast<int>(argv.size()), argv.data());
}

TEST(ModesTest, EveryModeAgreesWithTheOracle) {
  ASSERT_OK_AND_ASSIGN(const ModeComparison comparison, Compare({.name = "test",
                                                                 .settings = SmallSettings(),
                                                                 .modes = AllModes(),
                                                                 .reference = "per_example"}));
  EXPECT_THAT(comparison.Disagreeing(), IsEmpty()) << ReportText(comparison);
  for (const ModeOutcome& outcome : comparison.outcomes) {
    ASSERT_TRUE(outcome.from_oracle.has_value()) << outcome.mode.Label();
    // fp32 is never exactly fp64: the mode was run, and so was the oracle.
    EXPECT_GT(outcome.from_oracle->loss.largest, 0) << outcome.mode.Label();
    EXPECT_GT(outcome.run.steps.back().parameter_distance, 0) << outcome.mode.Label();
    if (!outcome.clips) continue;
    EXPECT_GT(outcome.run.steps.front().clip_fraction, 0.2) << outcome.mode.Label();
    EXPECT_LT(outcome.run.steps.front().clip_fraction, 0.8) << outcome.mode.Label();
  }
}

TEST(ModesTest, ModesAgreeUnderTheSameNoise) {
  ASSERT_OK_AND_ASSIGN(Preset preset, FindPreset("seed002"));
  const RunSettings small = SmallSettings();
  preset.settings.model = small.model;
  preset.settings.length = small.length;
  preset.settings.records = small.records;
  preset.settings.batch = small.batch;
  preset.settings.steps = small.steps;
  ASSERT_OK_AND_ASSIGN(const ModeComparison comparison, Compare(preset));
  EXPECT_THAT(comparison.Disagreeing(), IsEmpty()) << ReportText(comparison);
  const ModeOutcome& last = comparison.outcomes.back();
  EXPECT_TRUE(last.from_reference.has_value());  // no_dp, for nothing is clipped
  EXPECT_EQ(last.run.steps.back().clip_fraction, 0);
  EXPECT_LT(comparison.tolerance.parameter_distance, 1e-4);
  EXPECT_GT(last.from_oracle->parameter_distance, 0);
  // Without the noise the model goes another way.
  preset.modes = {{.name = "no_dp"}};
  preset.settings.noise_multiplier = 0;
  ASSERT_OK_AND_ASSIGN(const ModeComparison silent, Compare(preset));
  EXPECT_TRUE(std::isinf(silent.tolerance.parameter_distance));
  EXPECT_GT(std::abs(silent.outcomes[0].run.FinalLoss() - last.run.FinalLoss()), 1e-5);
}

TEST(ModesTest, OtherFamiliesAgreeWithTheirOracles) {
  v1::ModelSpec llama, encoder;
  llama.mutable_llama()->set_vocabulary_size(31);
  llama.mutable_llama()->set_width(16);
  llama.mutable_llama()->set_layers(2);
  llama.mutable_llama()->set_heads(4);
  llama.mutable_llama()->set_key_value_heads(2);
  llama.mutable_llama()->set_hidden_width(24);
  llama.mutable_llama()->set_max_length(12);
  llama.mutable_llama()->set_init_stddev(0.2);
  encoder.mutable_encoder()->set_vocabulary_size(31);
  encoder.mutable_encoder()->set_width(16);
  encoder.mutable_encoder()->set_layers(2);
  encoder.mutable_encoder()->set_heads(2);
  encoder.mutable_encoder()->set_max_length(12);
  encoder.mutable_encoder()->set_classes(3);
  encoder.mutable_encoder()->set_init_stddev(0.2);
  for (const v1::ModelSpec& model : {llama, encoder}) {
    Preset preset{.name = "test",
                  .settings = SmallSettings(),
                  .modes = {{.name = "per_example"}, {.name = "no_dp"}, {.name = "flash_fuse_bk"}},
                  .reference = "per_example"};
    preset.settings.model = model;
    ASSERT_OK_AND_ASSIGN(const ModeComparison comparison, Compare(preset));
    EXPECT_THAT(comparison.Disagreeing(), IsEmpty()) << ReportText(comparison);
    EXPECT_GT(comparison.outcomes[0].from_oracle->loss.largest, 0);
  }
}

TEST(ModesTest, ReportHoldsEveryStepAndLayer) {
  Preset preset{.name = "test",
                .settings = SmallSettings(),
                .modes = {{.name = "flash"}, {.name = "no_dp"}, {.name = "per_example"}},
                .reference = "per_example"};
  ASSERT_OK_AND_ASSIGN(const ModeComparison comparison, Compare(preset));
  const nlohmann::json report = ReportJson(comparison);
  EXPECT_EQ(report["agrees"], true);
  ASSERT_EQ(report["modes"].size(), 3);
  EXPECT_EQ(report["modes"][0]["mode"], "per_example");  // the reference comes first
  EXPECT_TRUE(report["modes"][0]["difference_from_reference"].is_null());
  EXPECT_FALSE(report["modes"][1]["difference_from_reference"].is_null());
  EXPECT_TRUE(report["modes"][2]["difference_from_reference"].is_null());  // no_dp clips nothing
  EXPECT_FALSE(report["modes"][1]["difference_from_reference"].contains("parameter_distance"));
  EXPECT_GT(report["modes"][1]["difference_from_oracle"]["parameter_distance"], 0);
  for (const char* series : {"loss_values", "gradient_norms", "parameter_norms",
                             "parameter_distances_from_oracle", "clip_fractions"}) {
    EXPECT_EQ(report["modes"][1][series].size(), 3) << series;
  }
  // wte, wpe and four matrices of each of two blocks.
  ASSERT_EQ(report["modes"][1]["layer_norms"].size(), 10);
  for (const nlohmann::json& layer : report["modes"][1]["layer_norms"]) {
    EXPECT_GT(layer["first_gradient_norm"], 0) << layer;
    EXPECT_GT(layer["last_weight_norm"], 0) << layer;
  }
  const std::string folder = TempFolder();
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> plots, WriteModePlots(comparison, folder));
  ASSERT_EQ(plots.size(), 4);
  for (const std::string& path : plots) {
    ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(path));
    EXPECT_THAT(bytes, ::testing::StartsWith("\x89PNG")) << path;
    EXPECT_GT(bytes.size(), 5000) << path;
  }
  ASSERT_OK_AND_ASSIGN(const std::string text, TerminalModePlots(comparison, 90));
  EXPECT_THAT(text, HasSubstr("flash"));
}

TEST(ModesTest, OneRankAndTwoAreTheSameToTheLastBit) {
  ASSERT_OK_AND_ASSIGN(Preset preset, FindPreset("seed000"));
  EXPECT_EQ(preset.settings.records, 64);
  preset.settings.model = SmallSettings().model;
  preset.settings.length = 12;
  const std::string checkpoints = TempFolder();
  ASSERT_OK_AND_ASSIGN(const ModeComparison comparison,
                       CompareModes(preset, checkpoints, [](const std::string&) {}));
  EXPECT_THAT(comparison.Disagreeing(), IsEmpty()) << ReportText(comparison);
  ASSERT_EQ(comparison.outcomes.size(), 4);
  EXPECT_EQ(comparison.outcomes[1].mode.Label(), "flash_fsdp@2");
  EXPECT_EQ(comparison.outcomes[1].from_reference->loss.largest, 0);
  // The norm is summed over the ranks, in fp64.
  EXPECT_LT(comparison.outcomes[1].from_reference->gradient_norm.largest, 1e-14);
  for (const ModeOutcome& outcome : comparison.outcomes) {
    EXPECT_TRUE(std::filesystem::exists(checkpoints + "/" + outcome.mode.Label()));
  }
  // q = 1/4, sigma 1, 4 steps, delta 1e-5.
  EXPECT_GT(comparison.epsilon, 1);
  EXPECT_THAT(ReportText(comparison), HasSubstr("at delta 1e-05"));
}

// Seed 42 draws nobody here, so that every loss and norm is 0: equal, but of nothing.
TEST(ModesTest, RunsWithoutAnyGradientAreRefused) {
  ASSERT_OK_AND_ASSIGN(Preset preset, FindPreset("quick"));
  preset.settings.steps = 1;
  preset.settings.batch = 0.5;
  EXPECT_THAT(Compare(preset),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("raise --batch (now 0.5")));
}

TEST(ModesTest, ModesThatCannotBePlannedAreRefusedBeforeAnyTraining) {
  const Preset preset{.name = "test",
                      .settings = SmallSettings(),
                      .modes = {{.name = "per_example"}, {.name = "no_dp", .deferred_norms = true}},
                      .reference = "per_example"};
  std::vector<std::string> progress;
  EXPECT_THAT(CompareModes(preset, /*checkpoint_folder=*/"",
                           [&](const std::string& line) { progress.push_back(line); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no_dp+deferred")));
  EXPECT_THAT(progress, IsEmpty());
}

// At once: planning's limits come before a description of a billion layers.
TEST(ModesTest, ModelsBeyondTheLimitsOfPlanningAreRefused) {
  RunSettings settings = SmallSettings();
  settings.model.mutable_gpt2()->set_layers(1'000'000'000);
  EXPECT_THAT(
      Compare({.name = "test", .settings = settings, .modes = AllModes(), .reference = "ghost"}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layers")));
}

TEST(ModesTest, RecordsLongerThanTheModelsAreRefused) {
  Preset preset{.name = "test",
                .settings = SmallSettings(),
                .modes = {{.name = "per_example"}},
                .reference = "per_example"};
  preset.settings.length = 13;
  EXPECT_THAT(Compare(preset),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--length must be at most")));
}

TEST(PresetTest, ModesAreFoundByNameAliasAndDeferral) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice deferred, ParseMode("ghost_bk+deferred"));
  EXPECT_EQ(deferred.name, "ghost_bk");
  EXPECT_TRUE(deferred.deferred_norms);
  EXPECT_OK(ParseMode("flash_fsdp_fuse_bk"));
  EXPECT_OK(ParseMode("auto"));
  EXPECT_THAT(ParseMode("triton"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("flash_fuse_bk")));
  EXPECT_THAT(FindPreset("slow"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("seed002")));
}

TEST(ProgramTest, ExitCodesSayWhatHappened) {
  EXPECT_EQ(RunCommand({"--help"}), kAgrees);
  EXPECT_EQ(RunCommand({}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--preset", "slow"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--steps", "0"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--modes", "triton"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--model", "{gpt3: {}}"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--model",
                        "{gpt2: {vocabulary_size: 31, width: 15, layers: 1, heads: 2, "
                        "max_length: 12}}"}),
            kFailed);
  EXPECT_EQ(RunCommand({"modes", "--out", "/proc/none/such"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--modes", "no_dp+deferred"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--modes", "ghost_fsdp", "--strategy", "NO_SHARD"}), kFailed);
  EXPECT_EQ(RunCommand({"modes", "--preset", "quick", "--length", "500"}), kFailed);
  for (const char* clip_norm : {"1e-42", "1e13", "inf", "nan"}) {
    EXPECT_EQ(RunCommand({"modes", "--preset", "quick", "--clip_norm", clip_norm}), kFailed);
    EXPECT_EQ(RunCommand({"profile", "--modes", "flash", "--clip_norm", clip_norm}), kFailed);
  }
  EXPECT_EQ(RunCommand({"world", "--mode", "triton"}), kFailed);
  EXPECT_EQ(RunCommand({"world", "--ranks", "1"}), kFailed);
}

TEST(WorldCheckTest, WorldSizesAgree) {
  RunSettings settings = SmallSettings();
  settings.uses_adamw = true;
  settings.noise_multiplier = 1;
  ASSERT_OK_AND_ASSIGN(const std::vector<WorldRow> rows,
                       CompareWorldSizes({.settings = settings, .world_sizes = {1, 2, 3}}));
  ASSERT_EQ(rows.size(), 3);
  for (const WorldRow& row : rows) EXPECT_TRUE(row.Agrees()) << row.world_size;
  EXPECT_FALSE((WorldRow{.differing_parameters = 1}).Agrees());
}

TEST(WorldCheckTest, OneWorldSizeHasNothingToAgreeWith) {
  for (const std::vector<int>& ranks : {std::vector<int>{2}, std::vector<int>{2, 2}}) {
    WorldOptions options{.settings = SmallSettings()};
    options.world_sizes = ranks;
    EXPECT_THAT(CompareWorldSizes(options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two world sizes")));
  }
}

TEST(GnuplotTest, ComplaintsComeBack) {
  EXPECT_THAT(RunGnuplot("plot nonsense("),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gnuplot failed")));
  EXPECT_EQ(GnuplotQuoted("it's"), "'it''s'");
}

}  // namespace
}  // namespace sotto::check
