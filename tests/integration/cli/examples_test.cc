// The job specs of examples/ as users run them.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/spec/spec_parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/cli/cli_process.h"
#include "tests/integration/testing/service_fixture.h"

namespace sotto::integration {
namespace {

constexpr int kClasses = 10;
constexpr int kPixels = 64;

// A bright row for classes 0 to 4, a bright column for the others, on a ground that varies.
std::string DigitLine(int record) {
  const int label = record % kClasses;
  std::vector<int> values;
  for (int pixel = 0; pixel < kPixels; ++pixel) {
    const int place = label < 5 ? pixel / 8 : pixel % 8;
    values.push_back((place == label % 5 + 1 ? 200 : 20) + (7 * record + 13 * pixel) % 50);
  }
  return absl::StrCat(R"({"values": [)", absl::StrJoin(values, ", "), R"(], "label": )", label,
                      "}\n");
}

// Of the last step that has one; below 0: there is none.
double LastAccuracy(const std::string& events, const std::vector<std::string>& path) {
  double last = -1;
  for (absl::string_view line : absl::StrSplit(events, '\n', absl::SkipEmpty())) {
    nlohmann::json value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    for (const std::string& key : path) {
      value = value.is_object() ? value.value(key, nlohmann::json()) : nlohmann::json();
    }
    if (value.is_number()) last = value.get<double>();
  }
  return last;
}

class ExamplesTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    ASSERT_OK(InstallBinaries(folder_));
  }

  CliOutcome Run(std::vector<std::string> arguments) {
    arguments.push_back("--state_dir=" + state_dir_);
    const absl::StatusOr<CliOutcome> outcome = RunCli(folder_, std::move(arguments));
    EXPECT_OK(outcome);
    return outcome.ok() ? *outcome : CliOutcome{.code = -1};
  }

  // Prepares and registers images for examples/digits.yaml.
  void AddDigits(const std::vector<std::string>& budget) {
    std::string lines;
    for (int record = 0; record < 1000; ++record) lines += DigitLine(record);
    ASSERT_OK(AtomicWriteFile(folder_ + "/digits.jsonl", lines));
    const CliOutcome prepared =
        Run({"data", "prepare", folder_ + "/digits.jsonl", "--format", "values", "--shape", "1,8,8",
             "--classes", "10", "--out", folder_ + "/digits.values"});
    EXPECT_EQ(prepared.code, 0) << prepared.text;
    std::vector<std::string> add = {"dataset",       "add", "digits", folder_ + "/digits.values",
                                    "--max_records", "1800"};
    add.insert(add.end(), budget.begin(), budget.end());
    const CliOutcome added = Run(add);
    EXPECT_EQ(added.code, 0) << added.text;
  }
};

TEST_F(ExamplesTest, EveryExampleIsASpec) {
  int specs = 0;
  for (const auto& entry : std::filesystem::directory_iterator("examples")) {
    if (entry.path().extension() != ".yaml") continue;
    ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(entry.path().string()));
    const absl::StatusOr<v1::JobSpec> spec =
        spec::ParseJobSpec(text, spec::FormatOf(entry.path().string()));
    EXPECT_OK(spec) << entry.path();
    ++specs;
  }
  EXPECT_GE(specs, 5);
}

TEST_F(ExamplesTest, DigitsTrainPrivatelyAndShowTheirAccuracy) {
  AddDigits({"--epsilon", "10", "--delta", "1e-5"});
  const CliOutcome plan = Run({"plan", "examples/digits.yaml", "--slots", "2"});
  EXPECT_EQ(plan.code, 0) << plan.text;
  EXPECT_THAT(plan.text, ::testing::HasSubstr("accuracy 12"));
  const CliOutcome run = Run({"run", "examples/digits.yaml", "--slots", "2"});
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(run.text, ::testing::ContainsRegex("step 60/60 .* acc -?[0-9.]+.+0\\.047 "));
  EXPECT_THAT(run.text, ::testing::HasSubstr("Publishing everything this job"));
}

TEST_F(ExamplesTest, WithoutAPromiseTheExactAccuracyIsShownAndRises) {
  AddDigits({"--no_budget"});
  ASSERT_OK_AND_ASSIGN(const std::string example, ReadFile("examples/digits.yaml"));
  const std::string open =
      absl::StrReplaceAll(example, {{"  epsilon: 8\n", "  not_private: true\n  seed: 3\n"},
                                    {"  metrics:\n    accuracy_multiplier: 12\n", ""}});
  ASSERT_TRUE(absl::StrContains(open, "seed: 3") && !absl::StrContains(open, "metrics"));
  ASSERT_OK(AtomicWriteFile(folder_ + "/open.yaml", open));
  const CliOutcome run = Run({"run", folder_ + "/open.yaml", "--slots", "2", "--output", "jsonl"});
  EXPECT_EQ(run.code, 0) << run.text;
  // One in ten by chance.
  EXPECT_GT(LastAccuracy(run.text, {"step", "raw", "accuracy"}), 0.9) << run.text;
  EXPECT_EQ(LastAccuracy(run.text, {"step", "noised_accuracy"}), -1);
}

}  // namespace
}  // namespace sotto::integration
