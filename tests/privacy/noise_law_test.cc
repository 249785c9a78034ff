// The law of the noise that the mechanism adds: its distribution, its size, and its independence
// over steps, ranks and attempts. Secrets are fixed: a draw that passes passes always. The stated
// probabilities are those of a fresh secret.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "kernels/testing/kolmogorov.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto {
namespace {

using kernels::kKolmogorovBound;
using kernels::KolmogorovDistance;

constexpr double kMultiplier = 0.8;
constexpr double kClipNorm = 0.5;
constexpr double kStddev = kMultiplier * kClipNorm;

struct Draw {
  uint64_t attempt = 1;  // its secret
  int64_t step = 0;
  int64_t first_position = 0;  // canonical, of this rank's shard
  int64_t count = 0;
};

// Noise alone, in units of the stated standard deviation.
std::vector<float> Noise(const Draw& draw) {
  auto mechanism = *dp::Mechanism::Create({
      .secret = crypto::Secret::FromPublicSeed(draw.attempt),
      .noise = {{.gradient_multiplier = kMultiplier}},
      .max_loss = 1,
      .expected_batch_size = 1,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  });
  const dp::ShardSlice slice{.values = at::zeros({draw.count}),
                             .canonical_base = draw.first_position,
                             .used = {{0, draw.count}}};
  dp::ClippedSum sum(dp::ClippedSumPasskey::Vouch(), {slice}, dp::PrivateStatistics(),
                     dp::SensitivityOfFlatClipping(kClipNorm));
  const auto noised = mechanism->Release(std::move(sum), grant::GrantStep(draw.step));
  EXPECT_TRUE(noised.ok());
  const float* values = noised->sums()[0].values.data_ptr<float>();
  std::vector<float> noise(values, values + draw.count);
  for (float& value : noise) value = static_cast<float>(value / kStddev);
  return noise;
}

// 3% off moves the distribution by 0.03 * max x phi(x) = 0.0073 at one standard deviation, where
// the sample's own deviates by 0.37 / sqrt(n): with n = 1e6 the statistic is 7.3 -+ 0.37 there, 12
// standard deviations above the bound.
TEST(NoiseLawTest, KolmogorovSmirnovAcceptsSigmaAndRejectsThreePercentOff) {
  std::vector<float> noise = Noise({.count = 1'000'000});
  std::sort(noise.begin(), noise.end());
  EXPECT_LT(KolmogorovDistance(noise, 1), kKolmogorovBound);
  EXPECT_GT(KolmogorovDistance(noise, 0.97), kKolmogorovBound);
  EXPECT_GT(KolmogorovDistance(noise, 1.03), kKolmogorovBound);
}

// The mean square of n normals has standard deviation sqrt(2 / n): 0.2% are 4.5 of them (8e-6). The
// mean is within 5 / sqrt(n) (6e-7), and the fourth moment, which tells heavy tails, within 5
// sqrt(96 / n).
TEST(NoiseLawTest, VarianceIsTheStatedOneOverTenMillionDraws) {
  constexpr int64_t kDraws = 10'000'000;
  const std::vector<float> noise = Noise({.step = 3, .count = kDraws});
  double sum = 0, square = 0, fourth = 0;
  for (const float value : noise) {
    const double value_sq = static_cast<double>(value) * value;
    sum += value;
    square += value_sq;
    fourth += value_sq * value_sq;
  }
  const double n = kDraws;
  EXPECT_NEAR(square / n, 1, 0.002);
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
}

double Correlation(const float* a, const float* b, int64_t count) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < count; ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// Also of the squares: noise of the same size with another sign would pass the correlation.
double CorrelationOfSquares(const float* a, const float* b, int64_t count) {
  std::vector<float> squares_a(count), squares_b(count);
  for (int64_t i = 0; i < count; ++i) {
    squares_a[i] = a[i] * a[i] - 1;
    squares_b[i] = b[i] * b[i] - 1;
  }
  return Correlation(squares_a.data(), squares_b.data(), count);
}

constexpr int64_t kCount = 1 << 20;

// 4 / sqrt(n): 6e-5 each for independent noise.
void ExpectIndependent(const float* a, const float* b, int64_t count, const char* what) {
  const double bound = 4 / std::sqrt(static_cast<double>(count));
  EXPECT_LT(std::abs(Correlation(a, b, count)), bound) << what;
  EXPECT_LT(std::abs(CorrelationOfSquares(a, b, count)), bound) << what;
}

TEST(NoiseLawTest, StepsRanksAndAttemptsAreUncorrelated) {
  const std::vector<float> noise = Noise({.step = 7, .count = kCount});
  const auto expect_independent_of = [&](const Draw& draw, const char* what) {
    const std::vector<float> other = Noise(draw);
    ExpectIndependent(noise.data(), other.data(), kCount, what);
  };
  expect_independent_of({.step = 8, .count = kCount}, "the next step");
  expect_independent_of({.step = 7 + (int64_t{1} << 32), .count = kCount}, "a step 2^32 later");
  expect_independent_of({.attempt = 2, .step = 7, .count = kCount}, "another attempt");
  expect_independent_of({.step = 7, .first_position = kCount, .count = kCount}, "the next rank");
  expect_independent_of({.step = 7, .first_position = int64_t{1} << 36, .count = kCount},
                        "a rank far behind");
}

// Pairs of one Box-Muller transform, neighbours, groups and key-stream blocks.
TEST(NoiseLawTest, NeighboursAreUncorrelated) {
  const std::vector<float> noise = Noise({.step = 1, .count = kCount + 96});
  for (const int64_t lag : {1, 2, 16, 31, 32, 33, 64, 96}) {
    ExpectIndependent(noise.data(), noise.data() + lag, kCount, "a lag");
  }
}

// What the two tests above must be able to see: one element in a hundred that is used twice.
TEST(NoiseLawTest, AFewSharedElementsAreSeen) {
  const std::vector<float> noise = Noise({.step = 7, .count = kCount});
  std::vector<float> other = Noise({.step = 8, .count = kCount});
  for (int64_t i = 0; i < kCount; i += 100) other[i] = noise[i];
  EXPECT_GT(Correlation(noise.data(), other.data(), kCount),
            4 / std::sqrt(static_cast<double>(kCount)));
}

}  // namespace
}  // namespace sotto
