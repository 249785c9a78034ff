// A training in which no token counts moves by noise alone: what is added, and how often, shows in
// the parameters.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "gtest/gtest.h"
#include "kernels/testing/kolmogorov.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto {
namespace {

using equivalence::RunOptions;
using equivalence::RunResult;
using kernels::kKolmogorovBound;
using kernels::KolmogorovDistance;

constexpr double kNoiseMultiplier = 0.8;
constexpr double kClipNorm = 0.5;
constexpr double kLearningRate = 0.1;
constexpr double kExpectedBatchSize = 20;  // 40 records at rate 1/2
constexpr double kStddev = kNoiseMultiplier * kClipNorm * kLearningRate / kExpectedBatchSize;

struct World {
  int size = 1;
  std::string strategy = "FULL_SHARD";
  int shard_group_size = 0;
  std::vector<std::string> frozen;  // name patterns
};

// The parameters after `steps` steps of SGD without momentum or decay.
std::vector<double> ParametersAfter(int64_t steps, const World& world, uint64_t seed = 99) {
  const std::string directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  const RunResult run = equivalence::Train(directory, {.world_size = world.size,
                                                       .strategy = world.strategy,
                                                       .shard_group_size = world.shard_group_size,
                                                       .frozen = world.frozen,
                                                       .noise_multiplier = kNoiseMultiplier,
                                                       .end_step = steps,
                                                       .clip_norm = kClipNorm,
                                                       .sgd_learning_rate = kLearningRate,
                                                       .width = 64,
                                                       .score_tokens = false,
                                                       .seed = seed});
  EXPECT_TRUE(run.succeeded);
  return {run.parameters.begin(), run.parameters.end()};
}

// What the last of `steps` steps added, in units of the stated standard deviation.
std::vector<double> Displacement(int64_t steps, const World& world, uint64_t seed = 99) {
  std::vector<double> after = ParametersAfter(steps, world, seed);
  const std::vector<double> before = ParametersAfter(steps - 1, world, seed);
  if (after.size() != before.size()) return {};
  for (size_t i = 0; i < after.size(); ++i) after[i] = (after[i] - before[i]) / kStddev;
  return after;
}

double RootMeanSquare(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// sqrt(n) times the correlation: standard normal for independent ones.
double ScaledCorrelation(const double* a, const double* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum / std::sqrt(static_cast<double>(count));
}

// n = 152,000 normals: the sample's standard deviation is within 1% but for 5.5 sigma (4e-8).
class PureNoiseTest : public ::testing::TestWithParam<World> {};

TEST_P(PureNoiseTest, DisplacementHasTheStatedStandardDeviation) {
  const std::vector<double> noise = Displacement(/*steps=*/2, GetParam());
  ASSERT_GT(noise.size(), 150'000);
  EXPECT_NEAR(RootMeanSquare(noise), 1, 0.01);
}

// The probability that fp32 hides the last step's move of a parameter that ended at `value` is at
// most the density of the noise at 0 times the length of what it hides: one spacing of floats (half
// on either side) and one cell of the noise's grid, 2^-20 of its standard deviation.
double ProbabilityOfHidingAMove(double value) {
  const double density = 1 / std::sqrt(2 * std::numbers::pi);
  const float size = static_cast<float>(std::abs(value) + 10 * kStddev);  // before or after
  const double spacing = std::nextafter(size, 2 * size) - size;
  return density * (spacing / kStddev + 0x1p-20);
}

// The least k with P[X > k] <= 1e-6 for a sum X of independent indicators with mean `expected`, by
// Chernoff: P[X >= k] <= exp(-expected) (e expected / k)^k, as for a Poisson variable.
int64_t LargestPlausibleCount(double expected) {
  for (int64_t k = 0;; ++k) {
    const double least = static_cast<double>(k + 1);
    if (least > expected &&
        -expected + least * (1 + std::log(expected / least)) <= std::log(1e-6)) {
      return k;
    }
  }
}

// Every element moved: none was left out, whoever owns it. (152,000 parameters, of which about one
// may seem unmoved; a LayerNorm without noise would be 64.)
TEST_P(PureNoiseTest, EveryParameterGetsNoise) {
  const std::vector<double> after = ParametersAfter(/*steps=*/2, GetParam());
  const std::vector<double> before = ParametersAfter(/*steps=*/1, GetParam());
  ASSERT_FALSE(after.empty());
  ASSERT_EQ(after.size(), before.size());
  int64_t unmoved = 0;
  double expected = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    unmoved += after[i] == before[i];
    expected += ProbabilityOfHidingAMove(after[i]);
  }
  EXPECT_LT(LargestPlausibleCount(expected), 10);
  EXPECT_LE(unmoved, LargestPlausibleCount(expected)) << "expected at most " << expected;
}

// Whoever holds an element, one noise is added to it: replicas add the same.
INSTANTIATE_TEST_SUITE_P(
    Ranks, PureNoiseTest,
    ::testing::Values(World{.size = 1}, World{.size = 2},
                      World{.size = 2, .strategy = "SHARD_GRAD_OP"},
                      World{.size = 2, .strategy = "NO_SHARD"},
                      World{.size = 4, .strategy = "HYBRID_SHARD", .shard_group_size = 2}),
    [](const auto& info) {
      const World& world = info.param;
      return absl::StrCat("World", world.size,
                          world.strategy == "FULL_SHARD" ? "" : world.strategy);
    });

// Frozen parameters get no noise, and the others theirs. (The blocks' parameters come after the
// root's, 49,984 a block.)
TEST(FrozenNoiseTest, FrozenParametersStayWhatTheyAre) {
  const std::vector<double> noise = Displacement(/*steps=*/2, {.size = 2, .frozen = {"h.1.*"}});
  const size_t block = 12 * 64 * 64 + 13 * 64;
  ASSERT_GT(noise.size(), 3 * block);
  const auto frozen = noise.end() - 2 * block;
  EXPECT_EQ(std::count(frozen, frozen + block, 0.0), block);
  std::vector<double> others(noise.begin(), frozen);
  others.insert(others.end(), frozen + block, noise.end());
  EXPECT_NEAR(RootMeanSquare(others), 1, 0.013);  // 102,000: 5.5 standard deviations are 1.2%
}

TEST(NoiseLawTest, DisplacementIsNormal) {
  std::vector<double> noise = Displacement(/*steps=*/2, {.size = 2});
  ASSERT_FALSE(noise.empty());
  std::sort(noise.begin(), noise.end());
  EXPECT_LT(KolmogorovDistance(noise, 1), kKolmogorovBound);
  // The test sees a standard deviation that is off by 5%.
  EXPECT_GT(KolmogorovDistance(noise, 1 / 1.05), kKolmogorovBound);
}

// Correlations beyond 5.5 standard deviations: 4e-8 each.
TEST(NoiseLawTest, StepsAttemptsAndUnitsAreIndependent) {
  const std::vector<double> second = Displacement(/*steps=*/2, {.size = 2});
  const std::vector<double> third = Displacement(/*steps=*/3, {.size = 2});
  const std::vector<double> other = Displacement(/*steps=*/2, {.size = 2}, /*seed=*/100);
  ASSERT_FALSE(second.empty());
  ASSERT_EQ(second.size(), third.size());
  ASSERT_EQ(second.size(), other.size());
  EXPECT_LT(std::abs(ScaledCorrelation(second.data(), third.data(), second.size())), 5.5);
  EXPECT_LT(std::abs(ScaledCorrelation(second.data(), other.data(), second.size())), 5.5);
  // The last two blocks are alike in size: their noise must not be.
  const size_t block = 12 * 64 * 64 + 13 * 64;
  const double* end = second.data() + second.size();
  EXPECT_LT(std::abs(ScaledCorrelation(end - block, end - 2 * block, block)), 5.5);
}

}  // namespace
}  // namespace sotto

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
