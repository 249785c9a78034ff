// How recorded runs are compared, and what is said of it: of runs that are made up.
#include <cmath>
#include <limits>
#include <string>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/comparison.h"
#include "tools/check/mode_comparison.h"
#include "tools/check/mode_json.h"
#include "tools/check/mode_report.h"
#include "tools/check/preset.h"

namespace sotto::check {
namespace {

using ::testing::HasSubstr;

// A run of two steps and one layer.
RecordedRun MakeRun(double loss, double gradient_norm) {
  return {
      .steps = {{.loss = 2, .gradient_norm = 1}, {.loss = loss, .gradient_norm = gradient_norm}},
      .layers = {{.name = "w", .first_gradient_norm = 0.5, .last_gradient_norm = 0.5}}};
}

TEST(ReportTest, ModesThatFailAreNamed) {
  ModeComparison comparison;
  comparison.outcomes = {{.mode = {.name = "per_example"}, .run = MakeRun(1, 2)},
                         {.mode = {.name = "flash"}, .status = absl::InternalError("rank 1 died")}};
  EXPECT_THAT(comparison.Disagreeing(), ::testing::ElementsAre("flash"));
  EXPECT_THAT(ReportText(comparison), HasSubstr("FAILED: rank 1 died"));
  EXPECT_THAT(ReportText(comparison), HasSubstr("DIFFERS: flash"));
}

TEST(ReportTest, WithoutTheReferenceModesThatClipAreConsistent) {
  ModeComparison comparison;
  comparison.preset.reference = "per_example";
  comparison.outcomes = {{.mode = {.name = "flash"}, .run = MakeRun(1, 2)},
                         {.mode = {.name = "ghost"}, .run = MakeRun(3, 2)},
                         {.mode = {.name = "no_dp"}, .clips = false, .run = MakeRun(9, 2)}};
  const nlohmann::json consistency = ReportJson(comparison)["consistency"];
  EXPECT_EQ(consistency["final_loss"]["mean"], 2);
  EXPECT_EQ(consistency["final_loss_range"], 2);
  EXPECT_EQ(consistency["average_gradient_norm"]["mean"], 1.5);
  EXPECT_THAT(ReportText(comparison), HasSubstr("mean 2.000000"));
  EXPECT_THAT(ReportText(comparison), HasSubstr("ref.: none, per_example did not run."));

  comparison.outcomes.erase(comparison.outcomes.begin(), comparison.outcomes.begin() + 2);
  EXPECT_TRUE(ReportJson(comparison)["consistency"].is_null());
  EXPECT_THAT(ReportText(comparison), ::testing::Not(HasSubstr("consistency")));
}

TEST(ReportTest, ClipNormsThatLeaveClippingUntriedAreWarnedOf) {
  ModeComparison comparison;
  comparison.preset.clip_norm_given = true;
  comparison.outcomes = {{.mode = {.name = "flash"}, .run = MakeRun(1, 2)}};
  const auto report_with = [&](double first, double second) {
    comparison.clipped_oracle = MakeRun(1, 2);
    comparison.clipped_oracle->steps[0].batch_size = 3;
    comparison.clipped_oracle->steps[0].clip_fraction = first;
    comparison.clipped_oracle->steps[1].batch_size = 3;
    comparison.clipped_oracle->steps[1].clip_fraction = second;
    return ReportText(comparison);
  };
  EXPECT_THAT(report_with(0, 0), HasSubstr("clips nothing at any step"));
  EXPECT_THAT(report_with(1, 1), HasSubstr("clips every example at every step"));
  EXPECT_THAT(report_with(0, 1), ::testing::Not(HasSubstr("warning")));
  EXPECT_THAT(report_with(0.5, 0.5), ::testing::Not(HasSubstr("warning")));
  comparison.preset.clip_norm_given = false;
  EXPECT_THAT(report_with(0, 0), ::testing::Not(HasSubstr("warning")));
}

TEST(ComparisonTest, OtherNoiseMovesTheParametersTooFar) {
  ASSERT_OK_AND_ASSIGN(const Preset preset, FindPreset("seed002"));
  const RunSettings& settings = preset.settings;
  constexpr int64_t kParameters = 366'528;
  RecordedRun oracle;
  oracle.steps.assign(10, RecordedStep{.gradient_norm = 2.6, .parameter_norm = 50});
  const double limit = DistanceLimit(settings, kParameters, oracle);
  EXPECT_GT(limit, 10 * 8.6e-8);  // what the modes were measured to differ by
  // Sigma 0.0099 instead of 0.01.
  const double noise = settings.learning_rate * 0.01 * 1e4 / 16 * std::sqrt(10. * kParameters);
  EXPECT_LT(limit, 0.01 * noise / 50);

  Difference difference;
  difference.parameter_distance = 1.1 * limit;
  EXPECT_FALSE(difference.IsWithin({.parameter_distance = limit}));
  EXPECT_TRUE(difference.IsWithin({.parameter_distance = 1.2 * limit}));
  EXPECT_TRUE(difference.IsWithin({}));
  RunSettings silent = settings;
  silent.noise_multiplier = 0;
  EXPECT_TRUE(std::isinf(DistanceLimit(silent, kParameters, oracle)));
}

TEST(ComparisonTest, DifferencesBeyondTheLimitsDisagree) {
  const Tolerance tolerance;
  const RecordedRun run = MakeRun(1, 2);
  EXPECT_TRUE(Compare(MakeRun(1 + 0.9e-4, 2 + 0.9e-3), run).IsWithin(tolerance));
  EXPECT_FALSE(Compare(MakeRun(1 + 1.1e-4, 2), run).IsWithin(tolerance));
  EXPECT_FALSE(Compare(MakeRun(1, 2 + 1.1e-3), run).IsWithin(tolerance));
  EXPECT_FALSE(Compare(MakeRun(std::nan(""), 2), run).IsWithin(tolerance));
  EXPECT_FALSE(Compare(MakeRun(1, std::nan("")), run).IsWithin(tolerance));
  EXPECT_FALSE(Compare(RecordedRun(), run).IsWithin(tolerance));
}

TEST(ComparisonTest, SmallNormsAreHeldToARelativeLimit) {
  EXPECT_FALSE(Compare(MakeRun(1, 0.01 + 0.5e-4), MakeRun(1, 0.01)).IsWithin({}));
  // What the smallest clip norm leaves.
  EXPECT_FALSE(Compare(MakeRun(1, 1.01e-12), MakeRun(1, 1e-12)).IsWithin({}));
  EXPECT_TRUE(Compare(MakeRun(1, 1.0001e-12), MakeRun(1, 1e-12)).IsWithin({}));
}

TEST(ComparisonTest, OneWrongLayerDisagrees) {
  const RecordedRun run = MakeRun(1, 2);
  RecordedRun other = run;
  other.layers[0].last_gradient_norm += 0.01;
  const Difference difference = Compare(other, run);
  EXPECT_FALSE(difference.IsWithin({}));
  EXPECT_EQ(difference.worst_layer, "w");
}

TEST(ComparisonTest, RecordsSurviveTheirTransport) {
  RecordedRun run = MakeRun(std::nan(""), std::numeric_limits<double>::infinity());
  run.steps[0].phases = {{.name = "forward", .seconds = 0.5, .count = 3}};
  ASSERT_OK_AND_ASSIGN(const RecordedRun read, RunFromBytes(RunToBytes(run)));
  EXPECT_TRUE(std::isnan(read.steps[1].loss));
  EXPECT_EQ(read.steps[1].gradient_norm, std::numeric_limits<double>::infinity());
  EXPECT_EQ(read.steps[0].phases[0].name, "forward");
  EXPECT_THAT(RunFromBytes("no record"), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace sotto::check
