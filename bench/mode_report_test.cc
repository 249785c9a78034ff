#include "bench/mode_report.h"

#include <string>
#include <vector>

#include "bench/mode_file.h"
#include "bench/mode_plan.h"
#include "bench/mode_rows.h"
#include "bench/mode_study.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Measured MakeContender(const std::string& name, const std::vector<double>& seconds) {
  Measured measured;
  measured.name = name;
  for (size_t i = 0; i < seconds.size(); ++i) {
    measured.steps.push_back({.seconds = seconds[i],
                              .cpu_seconds = 2 * seconds[i],
                              .release_seconds = 0.02 * seconds[i]});
    measured.rounds.push_back(static_cast<int>(i));
  }
  measured.peak_bytes = int64_t{210} << 20;
  measured.planned_bytes = int64_t{230} << 20;
  measured.tensor_peak_bytes = int64_t{100} << 20;
  measured.planned_tensor_bytes = int64_t{101} << 20;
  return measured;
}

Measured MakePeer(const std::string& name, const std::vector<double>& seconds) {
  Measured peer = MakeContender(name, seconds);
  peer.is_peer = true;
  peer.planned_bytes = peer.tensor_peak_bytes = peer.planned_tensor_bytes = 0;
  return peer;
}

// In each round no_dp takes half, a tenth less, ... of what per_example does.
MeasuredShape MakeShape(int64_t tokens) {
  MeasuredShape measured;
  measured.shape = *ShapeOfModel("gpt2-10m");
  measured.shape.tokens = tokens;
  measured.parameters = 10500000;
  measured.clip_norm = 2.5;
  measured.rounds = 5;
  measured.rounds_asked = 15;
  measured.contenders = {MakeContender("no_dp", {1.0, 1.0, 1.0, 1.0, 2.0}),
                         MakeContender("per_example", {2.0, 1.0, 1.25, 1.6, 2.0}),
                         MakeContender("auto", {1.25, 1.25, 1.25, 1.25, 2.5}),
                         MakeContender("per_example+deferred", {4.0, 2.0, 2.5, 3.2, 4.0}),
                         MakePeer("pytorch", {2.0, 2.0, 2.0, 2.0, 4.0}),
                         MakePeer("opacus_hooks", {4.0, 4.0, 4.0, 4.0, 8.0})};
  measured.contenders[2].choice = "52 layers EXAMPLE_GRADS";
  return measured;
}

TEST(ModeRowsTest, RatiosAreMediansAndQuartilesOverRounds) {
  const std::vector<ModeRow> rows = RowsOf(MakeShape(128));
  // Of 0.5, 1, 0.8, 0.625 and 1.
  const Spread& ratio = FindRow(rows, "per_example")->ratio_to_no_dp;
  EXPECT_DOUBLE_EQ(ratio.median, 0.8);
  EXPECT_DOUBLE_EQ(ratio.low, 0.625);
  EXPECT_DOUBLE_EQ(ratio.high, 1);
  EXPECT_DOUBLE_EQ(FindRow(rows, "per_example")->step_seconds.median, 1.6);
  EXPECT_DOUBLE_EQ(FindRow(rows, "no_dp")->ratio_to_pytorch, 2);
  EXPECT_DOUBLE_EQ(FindRow(rows, "per_example+deferred")->ratio_to_immediate, 0.5);
  EXPECT_EQ(BestFixedMode(rows)->name, "per_example");
  EXPECT_EQ(BestMode(rows)->name, "auto");
  EXPECT_EQ(BestOpacus(rows)->name, "opacus_hooks");
}

TEST(ModeRowsTest, AModeThatMissedRoundsIsComparedInItsOwn) {
  MeasuredShape measured = MakeShape(128);
  Measured& mode = measured.contenders[1];
  mode.steps = {{.seconds = 4}};
  mode.rounds = {4};  // where no_dp took 2
  EXPECT_DOUBLE_EQ(FindRow(RowsOf(measured), "per_example")->ratio_to_no_dp.median, 0.5);
}

// Slow and fast rounds: medians of the steps say 3 / 1, but Opacus is 2.5 times as slow in most
// rounds that both ran.
TEST(ModeRowsTest, OpacusIsComparedRoundByRound) {
  MeasuredShape measured = MakeShape(128);
  measured.contenders = {
      MakeContender("no_dp", {1, 1, 1, 1, 1}), MakeContender("per_example", {1, 1, 1, 2, 2}),
      MakePeer("pytorch", {1, 1, 1, 1, 1}), MakePeer("opacus_hooks", {3, 2.5, 2, 5, 5}),
      MakePeer("opacus_ghost", {6, 6, 6, 6, 6})};
  const auto ratio = BestOverOpacus(measured);
  ASSERT_TRUE(ratio.has_value());
  EXPECT_EQ(ratio->own, "per_example");
  EXPECT_EQ(ratio->base, "opacus_hooks");
  EXPECT_EQ(ratio->rounds, 5);
  EXPECT_DOUBLE_EQ(ratio->ratio.median, 2.5);
  EXPECT_DOUBLE_EQ(ratio->ratio.low, 2.5);
  EXPECT_DOUBLE_EQ(ratio->ratio.high, 2.5);
  EXPECT_THAT(TextOf(measured), HasSubstr("(per_example) over Opacus's best (opacus_hooks), round "
                                          "by round: 2.50 (2.50 to 2.50; n=5)"));
  EXPECT_EQ(JsonOf(measured)["best_over_opacus"], nlohmann::json({{"mode", "per_example"},
                                                                  {"opacus", "opacus_hooks"},
                                                                  {"ratio", 2.5},
                                                                  {"ratio_quartiles", {2.5, 2.5}},
                                                                  {"rounds", 5}}));

  measured.contenders[3].steps = {{.seconds = 3}, {.seconds = 2}};
  measured.contenders[3].rounds = {0, 2};
  EXPECT_EQ(BestOverOpacus(measured)->rounds, 2);
  EXPECT_DOUBLE_EQ(BestOverOpacus(measured)->ratio.median, 2.5);
  EXPECT_DOUBLE_EQ(BestOverOpacus(measured)->ratio.low, 2.25);
  measured.contenders[3].rounds = {7, 8};  // none that both ran
  EXPECT_FALSE(BestOverOpacus(measured).has_value());
  EXPECT_FALSE(JsonOf(measured).contains("best_over_opacus"));
}

TEST(ModeReportTest, ASingleFixedModeIsNotCalledTheBest) {
  MeasuredShape measured = MakeShape(256);
  EXPECT_THAT(TextOf(measured), HasSubstr("  best fixed mode: per_example, 0.800 of no_dp"));
  EXPECT_THAT(MarkdownOf({measured}), HasSubstr("| `per_example` 0.800 (0.625 to 1.000) (2) |"));
  measured.contenders.erase(measured.contenders.begin() + 3);  // per_example+deferred
  EXPECT_THAT(TextOf(measured), HasSubstr("  only fixed mode measured: per_example, 0.800 of "));
  EXPECT_THAT(TextOf(measured), Not(HasSubstr("best fixed mode")));
  const std::string markdown = MarkdownOf({measured});
  EXPECT_THAT(markdown, HasSubstr("| `per_example` 0.800 (0.625 to 1.000) (only one measured) |"));
  EXPECT_THAT(markdown, HasSubstr("T=256 1.000 (only fixed mode measured: `per_example`) | met |"));
}

TEST(ModeFileTest, WhatIsWrittenIsReadBack) {
  const MeasuredShape measured = MakeShape(128);
  const nlohmann::json file = {{"shapes", {JsonOf(measured)}}};
  ASSERT_OK_AND_ASSIGN(const std::vector<MeasuredShape> read,
                       MeasuredFromJson(nlohmann::json::parse(file.dump())));
  ASSERT_EQ(read.size(), 1);
  EXPECT_EQ(JsonOf(read[0]).dump(),
            JsonOf(measured).dump());  // No ratio is NaN, which is unequal to itself.
  EXPECT_EQ(MarkdownOf(read), MarkdownOf({measured}));
}

TEST(ModeFileTest, SaysNumbersOfStepsMediansAndQuartiles) {
  const nlohmann::json row = JsonOf(MakeShape(128))["rows"][1];
  EXPECT_EQ(row["mode"], "per_example");
  EXPECT_EQ(row["repeats"], 5);
  EXPECT_EQ(row["median_step_seconds"], 1.6);
  EXPECT_EQ(row["step_seconds_quartiles"], nlohmann::json({1.25, 2.0}));
  EXPECT_EQ(row["ratio_to_no_dp_quartiles"], nlohmann::json({0.625, 1.0}));
}

TEST(ModeFileTest, FilesOfSomethingElseAreRefusedByField) {
  const auto read = [](const nlohmann::json& file) { return MeasuredFromJson(file).status(); };
  EXPECT_THAT(read(nlohmann::json(7)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shapes")));
  nlohmann::json shape = JsonOf(MakeShape(128));
  shape["rows"][0].erase("step_seconds");
  EXPECT_THAT(read({{"shapes", {shape}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("step_seconds")));
  shape = JsonOf(MakeShape(128));
  shape["rows"][0]["rounds"] = {0};
  EXPECT_THAT(read({{"shapes", {shape}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no_dp")));
}

TEST(ModeMarkdownTest, SaysWhichTargetsAreMissed) {
  const std::string text = MarkdownOf({MakeShape(128), MakeShape(512)});
  EXPECT_THAT(text, HasSubstr("at least 0.90 | 10.5M 0.800 (`auto`) | missed |"));
  EXPECT_THAT(text, HasSubstr("at least 0.95 | 10.5M 0.800 (`auto`) | missed |"));
  EXPECT_THAT(text, HasSubstr("measured beside it | 10.5M T=128 1.000, 10.5M T=512 1.000 | met |"));
  EXPECT_THAT(text, HasSubstr("PyTorch's tokens/s | 2.00 at T=128, 2.00 at T=512 | met |"));
  EXPECT_THAT(text, HasSubstr("at T=128 | 3.20 (3.20 to 3.20; n=5) at T=128, 3.20 (3.20 to 3.20; "
                              "n=5) at T=512 | met |"));
  EXPECT_THAT(text, HasSubstr("of a step | 2.0 to 2.0% | met |"));
  EXPECT_THAT(text, HasSubstr("plan 1.0100 to 1.0100 of measured | met |"));
}

TEST(ModeMarkdownTest, APlanBelowWhatWasMeasuredIsMissed) {
  MeasuredShape measured = MakeShape(128);
  measured.contenders[1].planned_tensor_bytes = measured.contenders[1].tensor_peak_bytes - 1;
  EXPECT_THAT(MarkdownOf({measured}), HasSubstr("to 1.0100 of measured | missed |"));
}

TEST(ModeMarkdownTest, TablesOfManyModesHaveEveryRow) {
  MeasuredShape measured = MakeShape(128);
  EXPECT_THAT(MarkdownOf({measured}), Not(HasSubstr("`opacus_hooks`")));
  measured.contenders.push_back(MakeContender("ghost", {2, 2, 2, 2, 4}));
  measured.contenders.push_back(MakeContender("flash", {2, 2, 2, 2, 4}));
  const std::string text = MarkdownOf({measured});
  EXPECT_THAT(text, HasSubstr("| `per_example` | 2560 | 0.800 (0.625 to 1.000) | 0.800 | 100 / 101 "
                              "| 210 / 230 | 2.0% | 5 |"));
  EXPECT_THAT(text, HasSubstr("| `opacus_hooks` | 1024 | 0.250 (0.250 to 0.250) | 0.250 | - | 210 "
                              "| - | 5 |"));
  EXPECT_THAT(text, HasSubstr("`per_example+deferred` 0.500 and 1.000"));
}

// Issue: every mode at two lengths with 15 repeats, the whole within the hour.
TEST(StudyTest, FifteenRoundsOfEveryModeFitFortyMinutes) {
  ASSERT_OK_AND_ASSIGN(const std::vector<StudyPart> study,
                       Study({.rounds = 15, .has_peers = true}));
  EXPECT_LT(EstimatedMinutes(study), 40);
  int shapes_with_every_mode = 0;
  for (const StudyPart& part : study) {
    EXPECT_EQ(part.request.rounds, 15);
    EXPECT_THAT(part.request.modes,
                AllOf(Contains("no_dp"), Contains("per_example"), Contains("auto")));
    EXPECT_EQ(part.request.shape.tokens * part.request.shape.examples, 2048);
    if (part.request.shape.tokens == 64) {
      EXPECT_THAT(part.request.modes, Contains("flash_bk"));  // which auto mixes there
    }
    if (part.request.peers.empty()) continue;
    ++shapes_with_every_mode;
    EXPECT_THAT(part.request.modes,
                AllOf(Contains("ghost"), Contains("flash_fuse_bk"), Contains("flash+deferred")));
    EXPECT_THAT(part.request.peers, Contains("opacus_ghost"));
  }
  EXPECT_EQ(shapes_with_every_mode, 2);
}

TEST(StudyTest, PeersRunOnlyWhereTheyAreThere) {
  ASSERT_OK_AND_ASSIGN(const std::vector<StudyPart> study, Study({.rounds = 15}));
  for (const StudyPart& part : study) EXPECT_THAT(part.request.peers, IsEmpty());
}

TEST(StudyTest, ShapesThatAreNoneAreRefused) {
  for (const char* shape : {"128", "128x", "x16", "1x16", "128x0", "128x16x2"}) {
    EXPECT_THAT(Comparison("gpt2-10m", {shape}, {"no_dp"}, {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(shape)));
  }
  EXPECT_THAT(Comparison("gpt3", {"128x16"}, {"no_dp"}, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gpt3")));
}

}  // namespace
}  // namespace sotto::bench
