#include "worker/smoothed_mean.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace sotto {
namespace {

TEST(SmoothedMeanTest, FirstValueIsTheMean) {
  SmoothedMean mean;
  EXPECT_DOUBLE_EQ(mean.Add(5.5), 5.5);
}

TEST(SmoothedMeanTest, NewerValuesWeighMore) {
  SmoothedMean mean(/*weight=*/0.5);
  mean.Add(1);
  mean.Add(2);
  // Weights 1/8, 1/4, 1/2 of the sum 7/8.
  EXPECT_DOUBLE_EQ(mean.Add(4), (1.0 / 8 + 2.0 / 4 + 4.0 / 2) / (7.0 / 8));
}

TEST(SmoothedMeanTest, NoiseShrinksAsStated) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> noise(0, 1);
  SmoothedMean mean;
  for (int i = 0; i < 100; ++i) mean.Add(noise(random));
  double sum_of_squares = 0;
  constexpr int kSamples = 200'000;
  for (int i = 0; i < kSamples; ++i) sum_of_squares += std::pow(mean.Add(noise(random)), 2);
  // 1/19. The series' correlation 0.9 leaves kSamples / 9.5 independent squares (correlation 0.81):
  // relative standard error sqrt(2 * 9.5 / 2e5) = 0.0098; six of them.
  EXPECT_NEAR(sum_of_squares / kSamples * 19, 1, 0.06);
}

}  // namespace
}  // namespace sotto
