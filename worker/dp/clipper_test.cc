#include "worker/dp/clipper.h"

#include <limits>
#include <memory>
#include <vector>

#include "ATen/Functions.h"
#include "gtest/gtest.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"

namespace sotto::dp {
namespace {

std::shared_ptr<const ClippingRule> Flat(double clip_norm) {
  return *FlatClipping::Create(clip_norm, /*margin=*/0);
}

TEST(ComputeCoefficientsTest, ScalesLongGradientsOnly) {
  const MicroBatchCoefficients result = ComputeCoefficients(
      at::tensor({0.0, 0.25, 1.0, 4.0, 1e30}, at::kDouble).unsqueeze(0), at::ones({5}), *Flat(1));
  ASSERT_EQ(result.groups.size(), 1);
  const Coefficients& c = result.groups[0];
  EXPECT_TRUE(c.all_kept);
  EXPECT_EQ(result.clipped_B, (std::vector<bool>{false, false, false, true, true}));
  EXPECT_EQ(c.values_B[0].item<float>(), 1);
  EXPECT_EQ(c.values_B[1].item<float>(), 1);
  EXPECT_EQ(c.values_B[2].item<float>(), 1);
  EXPECT_EQ(c.values_B[3].item<float>(), 0.5f);
  EXPECT_FLOAT_EQ(c.values_B[4].item<float>(), 1e-15f);
}

TEST(ComputeCoefficientsTest, NonFiniteNormsAndLossesAreNotKept) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const MicroBatchCoefficients result =
      ComputeCoefficients(at::tensor({nan, infinity, 1.0, 1.0, 0.5}, at::kDouble).unsqueeze(0),
                          at::tensor({1.0, 1.0, nan, -infinity, 1.0}, at::kFloat), *Flat(1));
  const Coefficients& c = result.groups[0];
  EXPECT_FALSE(c.all_kept);
  for (int b = 0; b < 4; ++b) {
    EXPECT_TRUE(result.clipped_B[b]) << b;
    EXPECT_EQ(c.values_B[b].item<float>(), 0) << b;
    EXPECT_FALSE(c.keep_B[b].item<bool>()) << b;
  }
  EXPECT_FALSE(result.clipped_B[4]);
  EXPECT_EQ(c.values_B[4].item<float>(), 1);
  EXPECT_TRUE(c.keep_B[4].item<bool>());
}

TEST(ComputeCoefficientsTest, ANonFiniteNormInOneGroupLeavesTheExampleOutOfAll) {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor norm_sq_GB = at::tensor({1.0, 1.0, infinity, 16.0}, at::kDouble).view({2, 2});
  const MicroBatchCoefficients result =
      ComputeCoefficients(norm_sq_GB, at::ones({2}), **PerUnitClipping::Create({2, 2}, 0));
  ASSERT_EQ(result.groups.size(), 2);
  for (const Coefficients& c : result.groups) {
    EXPECT_EQ(c.values_B[0].item<float>(), 0);
    EXPECT_FALSE(c.keep_B[0].item<bool>());
    EXPECT_TRUE(c.keep_B[1].item<bool>());
    EXPECT_FALSE(c.all_kept);
  }
  EXPECT_EQ(result.groups[0].values_B[1].item<float>(), 1);
  EXPECT_EQ(result.groups[1].values_B[1].item<float>(), 0.5f);
  EXPECT_TRUE(result.clipped_B[1]);
}

TEST(ComputeCoefficientsTest, ASumOfSquaresBelowZeroIsZero) {
  const MicroBatchCoefficients result =
      ComputeCoefficients(at::full({1, 1}, -1e-12, at::kDouble), at::ones({1}), *Flat(1));
  EXPECT_EQ(result.groups[0].values_B[0].item<float>(), 1);
}

TEST(ComputeCoefficientsTest, AnEmptyMicroBatchHasNone) {
  const MicroBatchCoefficients result =
      ComputeCoefficients(at::zeros({1, 0}, at::kDouble), at::zeros({0}), *Flat(1));
  EXPECT_EQ(result.groups[0].values_B.numel(), 0);
  EXPECT_TRUE(result.groups[0].all_kept);
}

}  // namespace
}  // namespace sotto::dp
