#include "kernels/adamw.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/reference/adamw.h"

namespace sotto::kernels {
namespace {

AdamWStep MakeStep(int t) {
  AdamWStep step;
  step.learning_rate = 0.01;
  step.beta1 = 0.9;
  step.beta2 = 0.999;
  step.epsilon = 1e-8;
  step.weight_decay = 0.1;
  step.gradient_divisor = 48;
  step.bias_correction1 = 1 - std::pow(step.beta1, t);
  step.bias_correction2 = 1 - std::pow(step.beta2, t);
  return step;
}

float GradientOf(int t, size_t i) {
  return std::sin(static_cast<float>(i + 1)) * static_cast<float>(t) * (i % 7 == 0 ? 1e3f : 1.f);
}

struct Buffers {
  explicit Buffers(size_t size) : weights(size), m(size), v(size) {
    for (size_t i = 0; i < size; ++i) weights[i] = std::cos(static_cast<float>(i));
  }
  std::vector<float> weights, m, v;
};

TEST(AdamWTest, EqualsTheReferenceOverTenSteps) {
  constexpr size_t kSize = 1003;
  Buffers buffers(kSize);
  std::vector<reference::AdamWElement> expected(kSize);
  for (size_t i = 0; i < kSize; ++i) expected[i].weight = buffers.weights[i];
  std::vector<float> gradient(kSize);
  for (int t = 1; t <= 10; ++t) {
    for (size_t i = 0; i < kSize; ++i) gradient[i] = GradientOf(t, i);
    UpdateAdamW(MakeStep(t), gradient, absl::MakeSpan(buffers.weights), absl::MakeSpan(buffers.m),
                absl::MakeSpan(buffers.v));
    for (size_t i = 0; i < kSize; ++i) {
      reference::UpdateAdamW(MakeStep(t), gradient[i], expected[i]);
      // A step moves a weight by at most about 0.02 and rounds it to 2^-24: ten of them, some
      // roundings each.
      ASSERT_NEAR(buffers.weights[i], expected[i].weight, 10 * 4 * 0x1p-24) << i;
      ASSERT_NEAR(buffers.v[i], expected[i].v, 1e-5 * expected[i].v) << i;
    }
  }
}

// Gradients are noise of variance 0.25 for every second element, and signal beside it elsewhere: of
// the first, v minus the noise falls below the floor.
TEST(AdamWTest, NoiseIsTakenOutOfTheSecondMomentDownToTheFloor) {
  constexpr size_t kSize = 501;
  AdamWStep step = MakeStep(1);
  step.gradient_divisor = 1;
  step.noise_second_moment = 0.25;
  step.second_moment_floor = 0.01;
  Buffers buffers(kSize);
  std::vector<float> gradient(kSize);
  for (size_t i = 0; i < kSize; ++i) gradient[i] = i % 2 == 0 ? 0.5f : 1.5f + 0.01f * i;
  std::vector<reference::AdamWElement> expected(kSize);
  for (size_t i = 0; i < kSize; ++i) {
    expected[i].weight = buffers.weights[i];
    reference::UpdateAdamW(step, gradient[i], expected[i]);
  }
  const std::vector<float> before = buffers.weights;
  UpdateAdamW(step, gradient, absl::MakeSpan(buffers.weights), absl::MakeSpan(buffers.m),
              absl::MakeSpan(buffers.v));
  for (size_t i = 0; i < kSize; ++i) {
    ASSERT_NEAR(buffers.weights[i], expected[i].weight, 4 * 0x1p-24) << i;
  }
  // At the floor the move is m^ / sqrt(floor): ten times the learning rate times the gradient.
  EXPECT_NEAR(before[0] * (1 - 0.01 * 0.1) - buffers.weights[0], 0.01 * 0.5 / 0.1, 1e-6);
  // Elsewhere the noise's share makes it longer than without the correction.
  const double g = gradient[1];
  EXPECT_NEAR(before[1] * (1 - 0.01 * 0.1) - buffers.weights[1], 0.01 * g / std::sqrt(g * g - 0.25),
              1e-6);
}

TEST(AdamWTest, CutsOfTheRangeGiveTheSameBits) {
  constexpr size_t kSize = 517;
  std::vector<float> gradient(kSize);
  for (size_t i = 0; i < kSize; ++i) gradient[i] = GradientOf(1, i);
  Buffers whole(kSize);
  UpdateAdamW(MakeStep(1), gradient, absl::MakeSpan(whole.weights), absl::MakeSpan(whole.m),
              absl::MakeSpan(whole.v));
  for (size_t cut : {1, 32, 511}) {
    Buffers parts(kSize);
    for (auto [begin, end] : {std::pair<size_t, size_t>{0, cut}, {cut, kSize}}) {
      UpdateAdamW(MakeStep(1), absl::MakeConstSpan(gradient).subspan(begin, end - begin),
                  absl::MakeSpan(parts.weights).subspan(begin, end - begin),
                  absl::MakeSpan(parts.m).subspan(begin, end - begin),
                  absl::MakeSpan(parts.v).subspan(begin, end - begin));
    }
    EXPECT_EQ(parts.weights, whole.weights) << cut;
    EXPECT_EQ(parts.v, whole.v) << cut;
  }
}

TEST(AdamWTest, PaddingStaysZero) {
  std::vector<float> zeros(64, 0);
  std::vector<float> weights(64, 0), m(64, 0), v(64, 0);
  UpdateAdamW(MakeStep(3), zeros, absl::MakeSpan(weights), absl::MakeSpan(m), absl::MakeSpan(v));
  EXPECT_EQ(weights, zeros);
}

}  // namespace
}  // namespace sotto::kernels
