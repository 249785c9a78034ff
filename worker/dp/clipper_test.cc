#include "worker/dp/clipper.h"

#include <cmath>
#include <limits>
#include <random>

#include "ATen/Functions.h"
#include "gtest/gtest.h"

namespace sotto::dp {
namespace {

TEST(AppliedClipNormTest, LeavesTheLargerOfTheTwoMargins) {
  EXPECT_DOUBLE_EQ(AppliedClipNorm(2, /*cap=*/1), 2 * (1 - 0x1p-14));
  EXPECT_DOUBLE_EQ(AppliedClipNorm(2, /*cap=*/512), 2 * (1 - 0x1p-14));
  EXPECT_DOUBLE_EQ(AppliedClipNorm(2, /*cap=*/1024), 2 * (1 - 0x1p-13));
}

TEST(ComputeCoefficientsTest, ScalesLongGradientsOnly) {
  const Coefficients c = ComputeCoefficients(at::tensor({0.0, 0.25, 1.0, 4.0, 1e30}, at::kDouble),
                                             at::ones({5}), /*applied_clip_norm=*/1);
  EXPECT_TRUE(c.all_kept);
  EXPECT_EQ(c.clipped, 2);
  EXPECT_EQ(c.values_B[0].item<float>(), 1);
  EXPECT_EQ(c.values_B[1].item<float>(), 1);
  EXPECT_EQ(c.values_B[2].item<float>(), 1);
  EXPECT_EQ(c.values_B[3].item<float>(), 0.5f);
  EXPECT_FLOAT_EQ(c.values_B[4].item<float>(), 1e-15f);
}

TEST(ComputeCoefficientsTest, FactorsNeverExceedTheBound) {
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> exponent(-3, 30);
  for (int i = 0; i < 10000; ++i) {
    const double norm_sq = std::pow(10, exponent(generator));
    const Coefficients c =
        ComputeCoefficients(at::full({1}, norm_sq, at::kDouble), at::ones({1}), 0.7);
    const double kept = c.values_B[0].item<float>() * std::sqrt(norm_sq);
    ASSERT_LE(kept, 0.7 * (1 + 1e-15)) << norm_sq;
    if (norm_sq > 0.49) {
      ASSERT_GE(kept, 0.7 * (1 - 0x1p-22)) << norm_sq;
    }
  }
}

TEST(ComputeCoefficientsTest, NonFiniteNormsAndLossesAreNotKept) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const Coefficients c =
      ComputeCoefficients(at::tensor({nan, infinity, 1.0, 1.0, 0.5}, at::kDouble),
                          at::tensor({1.0, 1.0, nan, -infinity, 1.0}, at::kFloat), 1);
  EXPECT_FALSE(c.all_kept);
  EXPECT_EQ(c.clipped, 4);
  for (int b = 0; b < 4; ++b) {
    EXPECT_EQ(c.values_B[b].item<float>(), 0) << b;
    EXPECT_FALSE(c.keep_B[b].item<bool>()) << b;
  }
  EXPECT_EQ(c.values_B[4].item<float>(), 1);
  EXPECT_TRUE(c.keep_B[4].item<bool>());
}

TEST(ComputeCoefficientsTest, ASumOfSquaresBelowZeroIsZero) {
  const Coefficients c = ComputeCoefficients(at::full({1}, -1e-12, at::kDouble), at::ones({1}), 1);
  EXPECT_EQ(c.values_B[0].item<float>(), 1);
}

}  // namespace
}  // namespace sotto::dp
