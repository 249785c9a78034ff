#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/fold.h"
#include "kernels/layer_norm_gradient.h"
#include "kernels/reference/vector_kernels.h"
#include "kernels/softmax_gradient.h"
#include "kernels/stream_with_norm.h"
#include "kernels/sum_of_squares.h"

namespace sotto::kernels {
namespace {

using ::testing::Each;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomValues(size_t size, float scale = 1) {
  std::mt19937 generator(static_cast<uint32_t>(size) + 17);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(size);
  for (float& value : values) value = normal(generator);
  return values;
}

class VectorKernelsSizeTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(AwkwardSizes, VectorKernelsSizeTest,
                         testing::Values(0, 1, 7, 8, 31, 33, 97, 4095, 4096, 4097, 10007));

// Float32 sums of n <= 4096 squares: relative error at most n 2^-24 in any order, far less for
// random values; 1e-5 leaves room for the serial order of the reference.
TEST_P(VectorKernelsSizeTest, SumOfSquaresIsNearItsFloat64Value) {
  const std::vector<float> values = RandomValues(GetParam());
  double exact = 0;
  for (float value : values) exact += static_cast<double>(value) * value;
  EXPECT_NEAR(SumOfSquares(values), exact, 2e-6 * exact);
  EXPECT_NEAR(reference::SumOfSquares(values), exact, 1e-5 * exact);
  EXPECT_NEAR(SumOfSquares64(values), exact, 1e-12 * exact);
  EXPECT_EQ(reference::SumOfSquares64(values), exact);
}

TEST_P(VectorKernelsSizeTest, Float64SquaresDoNotOverflow) {
  const std::vector<float> values(static_cast<size_t>(GetParam()), 1e30f);
  const double exact = GetParam() * static_cast<double>(1e30f) * 1e30f;
  EXPECT_NEAR(SumOfSquares64(values), exact, 1e-12 * exact);
}

TEST_P(VectorKernelsSizeTest, StreamsTheSameValuesAndSquares) {
  const size_t size = static_cast<size_t>(GetParam());
  const std::vector<float> values = RandomValues(size);
  for (size_t offset : {0, 1, 8}) {
    std::vector<float> out(size + 16, -1.0f);
    float* begin = out.data() + offset;
    EXPECT_EQ(StreamWithNorm(values, begin), SumOfSquares(values));
    FinishStreaming();
    EXPECT_EQ(std::vector<float>(begin, begin + size), values);
    EXPECT_THAT(std::vector<float>(begin + size, out.data() + out.size()), Each(-1.0f));
  }
}

TEST_P(VectorKernelsSizeTest, FoldAddsScaledRowsAndSkipsTheRest) {
  const int64_t size = GetParam();
  const int64_t stride = size + 5;
  // 8 + 4 + 2 + 1 rows, taken that many at a time, and one that is not read.
  std::vector<float> coefficients;
  for (int b = 0; b < 16; ++b) coefficients.push_back(b == 1 ? 0 : 0.25f + 0.125f * b);
  std::vector<float> rows = RandomValues(static_cast<size_t>(16 * stride));
  for (int64_t i = 0; i < size; ++i) rows[stride + i] = i % 2 == 0 ? kNan : kInfinity;
  std::vector<float> out(static_cast<size_t>(size), 2.0f);
  std::vector<float> expected = out;
  Fold(rows.data(), stride, coefficients, absl::MakeSpan(out));
  reference::Fold(rows.data(), stride, coefficients, absl::MakeSpan(expected));
  for (int64_t i = 0; i < size; ++i) {
    // 15 roundings of partial sums below 2 + 15 * 2.125 * 4 sigma.
    ASSERT_NEAR(out[i], expected[i], 15 * 0x1p-24 * 130) << i;
  }
}

TEST_P(VectorKernelsSizeTest, SoftmaxGradientIsNearItsFloat64Value) {
  if (GetParam() == 0) GTEST_SKIP() << "a row has at least one logit";
  std::vector<float> logits = RandomValues(GetParam(), /*scale=*/4);
  const int64_t target = GetParam() / 2;
  const float weight = 0.3f;
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit));
  const double loss = std::log(sum) - logits[target];
  std::vector<double> expected;
  for (float logit : logits)
    expected.push_back(weight * std::exp(static_cast<double>(logit)) / sum);
  expected[target] -= weight;
  EXPECT_NEAR(SoftmaxGradient(absl::MakeSpan(logits), target, weight), loss, 1e-6 * (1 + loss));
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i], 1e-6 * std::fabs(expected[i]) + 1e-7) << i;
  }
}

TEST(SoftmaxGradientTest, LargeLogitsStayFiniteAndFarOnesVanish) {
  std::vector<float> logits(19, -1e30f);
  logits[3] = 1e30f;
  EXPECT_FLOAT_EQ(SoftmaxGradient(absl::MakeSpan(logits), 3, 1.0f), 0.0f);
  EXPECT_THAT(logits, Each(testing::FloatNear(0.0f, 1e-30f)));
}

TEST(SoftmaxGradientTest, NanAndInfinityShowInTheLoss) {
  for (float bad : {kNan, kInfinity}) {
    for (size_t position : {size_t{0}, size_t{9}, size_t{18}}) {
      std::vector<float> logits(19, 0.5f);
      logits[position] = bad;
      EXPECT_FALSE(std::isfinite(SoftmaxGradient(absl::MakeSpan(logits), 3, 1.0f))) << position;
    }
  }
}

TEST(SumOfSquaresTest, NanAndOverflowAreNotFinite) {
  for (size_t position : {size_t{0}, size_t{4000}, size_t{4999}}) {
    std::vector<float> values(5000, 1.0f);
    values[position] = kNan;
    EXPECT_TRUE(std::isnan(SumOfSquares(values))) << position;
    values[position] = 1e20f;
    EXPECT_TRUE(std::isinf(SumOfSquares(values))) << position;
  }
}

TEST(LayerNormGradientTest, EqualsTheReference) {
  for (int width : {1, 7, 8, 33, 256}) {
    const int tokens = 5;
    const std::vector<float> input = RandomValues(static_cast<size_t>(tokens * width));
    const std::vector<float> grads = RandomValues(static_cast<size_t>(tokens * width), 2);
    const std::vector<float> mean = RandomValues(tokens);
    const std::vector<float> reciprocal_std = RandomValues(tokens, 3);
    std::vector<float> gain(width, 1.0f), bias(width, -1.0f);
    std::vector<float> expected_gain = gain, expected_bias = bias;
    LayerNormGradient(input.data(), grads.data(), mean, reciprocal_std, absl::MakeSpan(gain),
                      absl::MakeSpan(bias));
    reference::LayerNormGradient(input.data(), grads.data(), mean, reciprocal_std,
                                 absl::MakeSpan(expected_gain), absl::MakeSpan(expected_bias));
    for (int j = 0; j < width; ++j) {
      EXPECT_NEAR(gain[j], expected_gain[j], 1e-4);
      EXPECT_NEAR(bias[j], expected_bias[j], 1e-5);
    }
  }
}

}  // namespace
}  // namespace sotto::kernels
