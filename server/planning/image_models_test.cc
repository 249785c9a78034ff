// Models of images and vectors against datasets of values.
#include <cmath>
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

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct ImageRule {
  std::string name;
  std::string model;
  std::string field;
  std::string rule;  // empty: no rule is broken
  int32_t classes = 10;
  int32_t targets = 0;
};

absl::StatusOr<v1::JobPlan> PlanOf(const std::string& model, int32_t classes, int32_t targets) {
  absl::StatusOr<v1::JobSpec> spec = spec::ParseJobSpec(
      "model: {" + model +
          "}\ndata: {dataset: fortunes}\nprivacy: {epsilon: 3}\n"
          "train: {expected_batch_size: 512, steps: 300, learning_rate: {peak: 1e-3}}\n",
      spec::Format::kYaml);
  if (!spec.ok()) return spec.status();
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_vocabulary_size(0);
  dataset.set_max_length(1);
  dataset.set_classes(classes);
  dataset.set_targets(targets);
  for (int32_t extent : {3, 8, 8}) dataset.add_image_shape(extent);
  return Plan(*spec, dataset, MakeDemoHost());
}

class ImageRuleTest : public ::testing::TestWithParam<ImageRule> {};

TEST_P(ImageRuleTest, IsTheOnlyViolation) {
  const absl::StatusOr<v1::JobPlan> plan =
      PlanOf(GetParam().model, GetParam().classes, GetParam().targets);
  if (GetParam().rule.empty()) {
    ASSERT_OK(plan);
    EXPECT_THAT(plan->train().lengths(), ElementsAre(1));
    return;
  }
  ASSERT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
  ASSERT_EQ(violations.size(), 1) << plan.status();
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_THAT(violations[0].rule, HasSubstr(GetParam().rule));
}

#define CNN "channels: 3, height: 8, width: 8, outputs: 10"
#define VIT "channels: 3, image_size: 8, width: 16, layers: 2, heads: 2"

INSTANTIATE_TEST_SUITE_P(
    Models, ImageRuleTest,
    ::testing::Values(
        ImageRule{"Mlp", "mlp: {inputs: 192, hidden_widths: [32], outputs: 10}", "", ""},
        ImageRule{"LinearMap", "mlp: {inputs: 192, outputs: 10}", "", ""},
        ImageRule{"Regression", "mlp: {inputs: 192, outputs: 2, loss: MEAN_SQUARED_ERROR}", "", "",
                  0, 2},
        ImageRule{"Cnn", "cnn: {" CNN ", stage_channels: [8, 16]}", "", ""},
        ImageRule{"Vit", "vit: {" VIT ", patch_size: 4, outputs: 12}", "", ""},
        ImageRule{"Dit", "dit: {" VIT ", patch_size: 4, classes: 10}", "", ""},
        ImageRule{"UnconditionalDit", "dit: {" VIT ", patch_size: 4}", "", "", 0},
        ImageRule{"MlpInputs", "mlp: {inputs: 191, outputs: 10}", "data.dataset", "1 x 1 x 191"},
        ImageRule{"MlpHiddenWidth", "mlp: {inputs: 192, hidden_widths: [0], outputs: 10}",
                  "model.mlp.hidden_widths[0]", "1 to 65536"},
        ImageRule{"TooFewOutputs", "mlp: {inputs: 192, outputs: 9}", "model.mlp.outputs",
                  "dataset's 10 classes"},
        ImageRule{"NoLabels", "mlp: {inputs: 192, outputs: 10}", "data.dataset", "must have labels",
                  0},
        ImageRule{"NoTargets", "mlp: {inputs: 192, outputs: 10, loss: MEAN_SQUARED_ERROR}",
                  "data.dataset", "must have targets"},
        ImageRule{"OtherTargets", "mlp: {inputs: 192, outputs: 3, loss: MEAN_SQUARED_ERROR}",
                  "model.mlp.outputs", "dataset's 2 targets", 0, 2},
        ImageRule{"CnnGroups", "cnn: {" CNN ", stage_channels: [12]}",
                  "model.cnn.stage_channels[0]", "divisible by groups 8"},
        ImageRule{"CnnWithoutStages", "cnn: {" CNN "}", "model.cnn.stage_channels", "1 to 16"},
        ImageRule{"CnnShape",
                  "cnn: {channels: 3, height: 8, width: 9, outputs: 10, stage_channels: [8]}",
                  "data.dataset", "3 x 8 x 9"},
        ImageRule{"Patches", "vit: {" VIT ", patch_size: 3, outputs: 10}", "model.vit.patch_size",
                  "divide the image_size 8"},
        ImageRule{"DitClasses", "dit: {" VIT ", patch_size: 4, classes: 9}", "model.dit.classes",
                  "dataset's 10 classes"},
        ImageRule{"LanguageModelOnImages",
                  "gpt2: {vocabulary_size: 257, width: 32, layers: 2, heads: 4, max_length: 32}",
                  "data.dataset", "must hold tokens"}),
    [](const auto& info) { return info.param.name; });

// The cost of the accuracy is inside the epsilon: at the same epsilon the gradient gets what the
// joint release leaves it, 1/s_eff^2 = sum of all four 1/s^2.
TEST(AccuracyPlanTest, AccuracyIsPaidForByTheGradient) {
  v1::JobSpec spec = MakeDemoSpec();
  v1::MlpSpec& mlp = *spec.mutable_model()->mutable_mlp();
  mlp.set_inputs(192);
  mlp.set_outputs(10);
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_vocabulary_size(0);
  dataset.set_max_length(1);
  dataset.set_classes(10);
  for (int32_t extent : {3, 8, 8}) dataset.add_image_shape(extent);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan without, Plan(spec, dataset, MakeDemoHost()));
  EXPECT_EQ(without.privacy().accuracy_noise_multiplier(), 0);
  EXPECT_EQ(without.privacy().segments(0).accuracy_noise_multiplier(), 0);
  spec.mutable_privacy()->mutable_metrics()->set_accuracy_multiplier(5);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan with, Plan(spec, dataset, MakeDemoHost()));
  EXPECT_EQ(with.privacy().epsilon(), without.privacy().epsilon());
  EXPECT_EQ(with.privacy().noise_multiplier(), without.privacy().noise_multiplier());
  EXPECT_GT(with.privacy().gradient_noise_multiplier(),
            without.privacy().gradient_noise_multiplier());
  const v1::NoiseSegment& segment = with.privacy().segments(0);
  EXPECT_EQ(segment.accuracy_noise_multiplier(), 5);
  double precision = 0;
  for (const double multiplier :
       {segment.gradient_noise_multiplier(), segment.loss_noise_multiplier(),
        segment.clip_fraction_noise_multiplier(), segment.accuracy_noise_multiplier()}) {
    precision += 1 / (multiplier * multiplier);
  }
  EXPECT_NEAR(1 / std::sqrt(precision), segment.noise_multiplier(), 1e-9);
  EXPECT_GE(1 / std::sqrt(precision), segment.noise_multiplier());
  spec.mutable_privacy()->mutable_metrics()->set_accuracy_multiplier(0.5);
  EXPECT_THAT(Plan(spec, dataset, MakeDemoHost()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("leaves nothing")));
}

}  // namespace
}  // namespace sotto::planning
