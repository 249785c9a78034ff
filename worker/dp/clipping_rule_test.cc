#include "worker/dp/clipping_rule.h"

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/dp/automatic_clipping.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"

namespace sotto::dp {
namespace {

using ::testing::HasSubstr;

// A sensitivity is what a rule enforced, never a number from elsewhere.
static_assert(!std::is_default_constructible_v<L2Sensitivity>);
static_assert(!std::is_constructible_v<L2Sensitivity, double>);

using RulePtr = std::shared_ptr<const ClippingRule>;

std::vector<float> FactorsOf(const ClippingRule& rule, const std::vector<double>& norm_sq_G) {
  std::vector<float> factors(norm_sq_G.size());
  rule.Factors(norm_sq_G, absl::MakeSpan(factors));
  return factors;
}

// The norm that enters the sum.
double KeptNorm(const ClippingRule& rule, const std::vector<double>& norm_sq_G) {
  const std::vector<float> factors = FactorsOf(rule, norm_sq_G);
  double sum = 0;
  for (size_t g = 0; g < factors.size(); ++g) {
    sum += static_cast<double>(factors[g]) * factors[g] * norm_sq_G[g];
  }
  return std::sqrt(sum);
}

TEST(RoundingMarginTest, IsTheLargerOfTheTwoMargins) {
  EXPECT_EQ(RoundingMargin(/*cap=*/1), 0x1p-14);
  EXPECT_EQ(RoundingMargin(/*cap=*/512), 0x1p-14);
  EXPECT_EQ(RoundingMargin(/*cap=*/1024), 0x1p-13);
}

// Norms over thirty orders of magnitude: no rule ever lets more through than its sensitivity
// without the margin.
TEST(ClippingRuleTest, KeptNormsNeverExceedTheSensitivityWithoutItsMargin) {
  constexpr double kMargin = 0x1p-10;
  const std::vector<RulePtr> rules = {
      *FlatClipping::Create(0.7, kMargin), *AutomaticClipping::Create(0.7, 0.01, kMargin),
      *PerUnitClipping::Create({0.1, 0.5, 2}, kMargin),
      *PerUnitClipping::CreateEqual(0.7, {true, false, true}, kMargin)};
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> exponent(-15, 30);
  for (const RulePtr& rule : rules) {
    const double bound = rule->sensitivity().value() * (1 - kMargin);
    for (int i = 0; i < 10000; ++i) {
      std::vector<double> norm_sq_G(rule->num_groups());
      for (double& norm_sq : norm_sq_G) norm_sq = std::pow(10, exponent(generator));
      if (rule == rules[3]) norm_sq_G[1] = 0;  // a unit without trainable parameters
      ASSERT_LE(KeptNorm(*rule, norm_sq_G), bound * (1 + 1e-15));
    }
  }
}

TEST(FlatClippingTest, ClippedGradientsKeepTheBoundAndOthersStay) {
  const RulePtr rule = *FlatClipping::Create(2, /*margin=*/0.25);
  EXPECT_EQ(rule->sensitivity().value(), 2);
  EXPECT_EQ(rule->num_groups(), 1);
  EXPECT_EQ(rule->GroupOf(7), 0);
  EXPECT_EQ(FactorsOf(*rule, {0})[0], 1);
  EXPECT_EQ(FactorsOf(*rule, {2.25})[0], 1);
  EXPECT_EQ(FactorsOf(*rule, {9})[0], 0.5f);
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> exponent(1, 30);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_GE(KeptNorm(*rule, {std::pow(10, exponent(generator))}), 1.5 * (1 - 0x1p-22));
  }
}

TEST(AutomaticClippingTest, ScalesByTheNormAndGamma) {
  const RulePtr rule = *AutomaticClipping::Create(3, /*gamma=*/1, /*margin=*/0);
  EXPECT_EQ(rule->sensitivity().value(), 3);
  EXPECT_EQ(FactorsOf(*rule, {0})[0], 3);
  EXPECT_EQ(FactorsOf(*rule, {25})[0], 0.5f);
  EXPECT_NEAR(KeptNorm(*rule, {1e20}), 3, 1e-6);
}

TEST(PerUnitClippingTest, EachUnitHasItsOwnThreshold) {
  const RulePtr rule = *PerUnitClipping::Create({3, 4}, /*margin=*/0);
  EXPECT_EQ(rule->sensitivity().value(), 5);
  EXPECT_EQ(rule->num_groups(), 2);
  EXPECT_EQ(rule->GroupOf(1), 1);
  EXPECT_EQ(FactorsOf(*rule, {36, 4}), (std::vector<float>{0.5f, 1}));
  EXPECT_EQ(FactorsOf(*rule, {1, 64}), (std::vector<float>{1, 0.5f}));
}

TEST(PerUnitClippingTest, EqualThresholdsAreForUnitsThatTrain) {
  const RulePtr rule = *PerUnitClipping::CreateEqual(2, {true, false, true, true, true}, 0);
  EXPECT_EQ(rule->sensitivity().value(), 2);
  EXPECT_EQ(FactorsOf(*rule, {4, 0, 1, 0.25, 16}), (std::vector<float>{0.5f, 1, 1, 1, 0.25f}));
}

TEST(ClippingRuleTest, AnotherClipNormScalesEverything) {
  const RulePtr flat = *(*FlatClipping::Create(1, 0.5))->WithClipNorm(4);
  EXPECT_EQ(flat->sensitivity().value(), 4);
  EXPECT_EQ(FactorsOf(*flat, {16})[0], 0.5f);
  const RulePtr automatic = *(*AutomaticClipping::Create(1, 1, 0))->WithClipNorm(4);
  EXPECT_EQ(automatic->sensitivity().value(), 4);
  EXPECT_EQ(FactorsOf(*automatic, {9})[0], 1);
  const RulePtr per_unit = *(*PerUnitClipping::Create({3, 4}, 0))->WithClipNorm(10);
  EXPECT_EQ(per_unit->sensitivity().value(), 10);
  EXPECT_EQ(FactorsOf(*per_unit, {144, 64}), (std::vector<float>{0.5f, 1}));
}

TEST(ClippingRuleTest, RefusesWhatIsNoRule) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto invalid = [](absl::string_view message) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(std::string(message)));
  };
  for (double bad : {0.0, -1.0, nan, infinity}) {
    EXPECT_THAT(FlatClipping::Create(bad, 0), invalid("clip_norm")) << bad;
    EXPECT_THAT(AutomaticClipping::Create(bad, 1, 0), invalid("clip_norm")) << bad;
    EXPECT_THAT(PerUnitClipping::CreateEqual(bad, {true}, 0), invalid("clip_norm")) << bad;
    EXPECT_THAT((*FlatClipping::Create(1, 0))->WithClipNorm(bad), invalid("clip_norm")) << bad;
    EXPECT_THAT((*PerUnitClipping::Create({1}, 0))->WithClipNorm(bad), invalid("clip_norm")) << bad;
    EXPECT_THAT(AutomaticClipping::Create(1, bad, 0), invalid("gamma")) << bad;
  }
  EXPECT_THAT(AutomaticClipping::Create(1, 1e-10, 0), invalid("gamma"));
  for (double bad : {-0.5, 1.0, nan}) {
    EXPECT_THAT(FlatClipping::Create(1, bad), invalid("margin")) << bad;
    EXPECT_THAT(AutomaticClipping::Create(1, 1, bad), invalid("margin")) << bad;
    EXPECT_THAT(PerUnitClipping::Create({1}, bad), invalid("margin")) << bad;
  }
  EXPECT_THAT(PerUnitClipping::Create({1, -1}, 0), invalid("unit 1"));
  EXPECT_THAT(PerUnitClipping::Create({nan, 1}, 0), invalid("unit 0"));
  EXPECT_THAT(PerUnitClipping::Create({0, 0}, 0), invalid("thresholds"));
  EXPECT_THAT(PerUnitClipping::Create({}, 0), invalid("thresholds"));
  EXPECT_THAT(PerUnitClipping::CreateEqual(1, {false}, 0), invalid("no unit trains"));
}

}  // namespace
}  // namespace sotto::dp
