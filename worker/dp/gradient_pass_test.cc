#include "worker/dp/gradient_pass.h"

#include <memory>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "common/base/status_matchers.h"
#include "common/layout/gpt2_description.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"
#include "worker/nn/linear.h"

namespace sotto::dp {
namespace {

using ::testing::HasSubstr;

// What a pass does with models, over all modes, is tests/equivalence's matter; here: what it
// refuses.
class GradientPassTest : public ::testing::Test {
 protected:
  GradientPass::Options OptionsOf(const std::string& mode) const {
    return {.mode = *layout::FindMode(mode),
            .clipping = *FlatClipping::Create(/*clip_norm=*/1, /*margin=*/0),
            .max_examples = 2};
  }

  std::unique_ptr<GradientPass> Make(const GradientPass::Options& options) const {
    return *GradientPass::Create(layout_, options);
  }

  // One linear layer's part of a backward pass.
  void VisitLinear(GradientPass& pass) const {
    pass.Begin({0, 1});
    const nn::SavedInput saved{.activations = at::ones({2, 3, 4})};
    pass.Sink(GradientPass::Verb::kNorm, /*unit=*/1, {}).Visit(linear_, saved, at::ones({2, 3, 5}));
  }

  const layout::ModelDescription description_ = *layout::MakeGpt2Description(
      {.vocabulary_size = 5, .width = 4, .layers = 1, .heads = 2, .max_length = 3});
  const layout::FlatLayout layout_ = *layout::FlatLayout::Create(description_, 1);
  const nn::Linear linear_{{.weight = 0}};
};

TEST_F(GradientPassTest, RefusesOptionsItCannotFollow) {
  const auto status_of = [&](const GradientPass::Options& options) {
    return GradientPass::Create(layout_, options).status();
  };
  const auto invalid = [](const std::string& message) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message));
  };
  GradientPass::Options options = OptionsOf("flash");
  EXPECT_OK(status_of(options));
  options.max_examples = 0;
  EXPECT_THAT(status_of(options), invalid("max_examples must be at least 1, but is 0"));
  options = OptionsOf("flash");
  options.clipping = nullptr;
  EXPECT_THAT(status_of(options), invalid("needs a clipping rule"));
  options.clipping = *PerUnitClipping::Create({1, 1, 1}, /*margin=*/0);
  EXPECT_THAT(status_of(options), invalid("3 units, but the layout has 2"));
}

TEST_F(GradientPassTest, AStepWithoutMicroBatchesHasTheRulesSensitivity) {
  const std::unique_ptr<GradientPass> pass = Make(OptionsOf("flash"));
  EXPECT_EQ(pass->EndStep().value(), 1);
  EXPECT_OK(pass->SetClipNorm(3));
  EXPECT_EQ(pass->EndStep().value(), 3);
  EXPECT_EQ(pass->sensitivity().value(), 3);
}

using GradientPassDeathTest = GradientPassTest;

TEST_F(GradientPassDeathTest, FactorsAreNeverTakenBeforeDeferredNorms) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  GradientPass::Options options = OptionsOf("flash_bk");
  options.mode = layout::WithDeferredNorms(options.mode);
  const std::unique_ptr<GradientPass> pass = Make(options);
  VisitLinear(*pass);
  EXPECT_DEATH(pass->Clip(at::ones({2})), "deferred_");
  EXPECT_EQ(pass->MeasureDeferred(), 1);
  pass->Clip(at::ones({2}));
  EXPECT_EQ(pass->private_norm_sq_B()[0].item<double>(), 3 * 3 * 4 * 5);
}

TEST_F(GradientPassDeathTest, NothingIsAddedBeforeTheFactorsAreKnown) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::unique_ptr<GradientPass> pass = Make(OptionsOf("flash_bk"));
  VisitLinear(*pass);
  const std::vector<at::Tensor> gradients = {at::zeros({4, 5})};
  EXPECT_DEATH(pass->Fold(1, gradients), "coefficients_");
  EXPECT_DEATH(pass->Sink(GradientPass::Verb::kWeightGrad, 1, gradients), "coefficients_");
  pass->Clip(at::ones({2}));
  pass->Fold(1, gradients);
  // Two examples alike, each of norm sqrt(180) before and 1 after.
  EXPECT_NEAR(gradients[0].norm().item<double>(), 2, 1e-5);
}

}  // namespace
}  // namespace sotto::dp
