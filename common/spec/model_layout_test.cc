#include "common/spec/model_layout.h"

#include <variant>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"

namespace sotto::spec {
namespace {

v1::ModelSpec MakeModel() {
  v1::ModelSpec model;
  v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
  gpt2.set_vocabulary_size(257);
  gpt2.set_width(32);
  gpt2.set_layers(3);
  gpt2.set_heads(4);
  gpt2.set_max_length(64);
  return model;
}

TEST(DescribeModelTest, FillsInTheDefaults) {
  ASSERT_OK_AND_ASSIGN(const layout::ModelDescription model, DescribeModel(MakeModel()));
  const auto& gpt2 = std::get<layout::Gpt2Dimensions>(model.family);
  EXPECT_EQ(gpt2.vocabulary_size, 257);
  EXPECT_EQ(gpt2.layers, 3);
  EXPECT_TRUE(gpt2.tied_head);
  EXPECT_EQ(gpt2.layer_norm_epsilon, 1e-5);
  EXPECT_EQ(gpt2.init_stddev, 0.02);
  EXPECT_EQ(model.units.size(), 4);
}

TEST(DescribeModelTest, TakesWhatIsGiven) {
  v1::ModelSpec spec = MakeModel();
  spec.mutable_gpt2()->set_untied_head(true);
  spec.mutable_gpt2()->set_layer_norm_epsilon(1e-6);
  spec.mutable_gpt2()->set_init_stddev(0.1);
  ASSERT_OK_AND_ASSIGN(const layout::ModelDescription model, DescribeModel(spec));
  const auto& gpt2 = std::get<layout::Gpt2Dimensions>(model.family);
  EXPECT_FALSE(gpt2.tied_head);
  EXPECT_EQ(gpt2.layer_norm_epsilon, 1e-6);
  EXPECT_EQ(gpt2.init_stddev, 0.1);
}

TEST(DescribeModelTest, RefusesWhatIsNoModel) {
  EXPECT_THAT(DescribeModel({}), StatusIs(absl::StatusCode::kInvalidArgument));
  v1::ModelSpec spec = MakeModel();
  spec.mutable_gpt2()->set_heads(5);
  EXPECT_THAT(DescribeModel(spec), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ModeMessageTest, EveryModeOfTheTableComesBack) {
  for (const layout::NamedMode& named : layout::kGradientModes) {
    EXPECT_THAT(ModeOf(ModeMessage(named.mode)), IsOkAndHolds(named.mode)) << named.name;
    const layout::UnitMode deferred = layout::WithDeferredNorms(named.mode);
    EXPECT_THAT(ModeOf(ModeMessage(deferred)), IsOkAndHolds(deferred)) << named.name;
  }
}

TEST(ModeMessageTest, RefusesWhatIsNotInTheTable) {
  v1::UnitMode message;
  message.set_norm(v1::UnitMode::GRAM);
  EXPECT_THAT(ModeOf(message), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace sotto::spec
