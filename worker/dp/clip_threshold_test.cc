#include "worker/dp/clip_threshold.h"

#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/dp/adaptive_threshold.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/scheduled_threshold.h"
#include "worker/dp/statistics_reader.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {
namespace {

using ::testing::HasSubstr;

// A threshold learns from releases, and from nothing that is private.
template <typename Seen>
concept Observes = requires(ClipThreshold& threshold, const Seen& seen) {
  threshold.Observe(seen);
};
static_assert(Observes<NoisedMetrics>);
static_assert(!Observes<RawMetrics> && !Observes<PrivateStatistics> && !Observes<double>);

constexpr double kBatch = 1000;

// What a step releases when `clipped` of its examples were clipped.
NoisedMetrics MetricsOf(int clipped, double count_multiplier, int64_t step) {
  const std::unique_ptr<Mechanism> mechanism = *Mechanism::Create({
      .secret = crypto::Secret::FromPublicSeed(3),
      .noise = {{.clip_fraction_multiplier = count_multiplier}},
      .max_loss = 1,
      .expected_batch_size = kBatch,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  });
  PrivateStatistics statistics;
  for (int i = 0; i < clipped; ++i) StatisticsReader::AddExample(statistics, 1, 1, true);
  ClippedSum sum(ClippedSumPasskey::Vouch(), {}, std::move(statistics),
                 SensitivityOfFlatClipping(1));
  return *mechanism->Report(*mechanism->Release(std::move(sum), grant::GrantStep(step)));
}

AdaptiveThreshold::Options MakeOptions() {
  return {
      .initial = 1, .target_quantile = 0.5, .learning_rate = 0.2, .minimum = 0.01, .maximum = 100};
}

TEST(AdaptiveThresholdTest, MovesByTheStatedFactor) {
  const auto threshold = *AdaptiveThreshold::Create(MakeOptions());
  EXPECT_EQ(threshold->At(0), 1);
  threshold->Observe(MetricsOf(900, 0, 0));  // 0.1 are not clipped: 0.4 too few
  EXPECT_NEAR(threshold->At(1), std::exp(0.2 * 0.4), 1e-12);
  threshold->Observe(MetricsOf(0, 0, 1));
  EXPECT_NEAR(threshold->At(2), std::exp(0.2 * 0.4 - 0.2 * 0.5), 1e-12);
}

// It is the noised fraction that moves it. (The twin that learns from the exact count fails here.)
TEST(AdaptiveThresholdTest, LearnsFromTheNoisedFraction) {
  const auto threshold = *AdaptiveThreshold::Create(MakeOptions());
  const NoisedMetrics metrics = MetricsOf(500, /*count_multiplier=*/100, 0);
  ASSERT_GT(std::abs(metrics.noised_clip_fraction() - 0.5), 1e-6);
  threshold->Observe(metrics);
  EXPECT_NEAR(threshold->At(1), std::exp(0.2 * (metrics.noised_clip_fraction() - 0.5)), 1e-12);
  EXPECT_NE(threshold->At(1), 1);
}

// Norms are log-normal with median 20; the count's noise has standard deviation 50 of 1000. C walks
// from 1 to the quantile and stays within the walk's own spread: with gain 0.2 and density 0.4 of
// log C at the median each step's noise 0.05 leaves 0.2 * 0.05 / sqrt(2 * 0.2 * 0.4) = 0.03; the
// mean of 400 steps is far within 0.1 in log C.
TEST(AdaptiveThresholdTest, FindsTheQuantileThroughNoise) {
  const auto threshold = *AdaptiveThreshold::Create(MakeOptions());
  std::mt19937 generator(1);
  std::lognormal_distribution<double> norms(std::log(20), 1);
  double log_sum = 0;
  for (int step = 0; step < 600; ++step) {
    int clipped = 0;
    for (int i = 0; i < kBatch; ++i) clipped += norms(generator) > threshold->At(step);
    threshold->Observe(MetricsOf(clipped, /*count_multiplier=*/50, step));
    if (step >= 200) log_sum += std::log(threshold->At(step));
  }
  EXPECT_NEAR(log_sum / 400, std::log(20), 0.1);
}

TEST(AdaptiveThresholdTest, StaysWithinItsBounds) {
  AdaptiveThreshold::Options options = MakeOptions();
  options.minimum = 0.9;
  options.maximum = 1.1;
  const auto threshold = *AdaptiveThreshold::Create(options);
  for (int step = 0; step < 10; ++step) threshold->Observe(MetricsOf(1000, 0, step));
  EXPECT_EQ(threshold->At(10), 1.1);
  for (int step = 0; step < 20; ++step) threshold->Observe(MetricsOf(0, 0, step));
  EXPECT_EQ(threshold->At(20), 0.9);
  // A noise far beyond every count.
  for (int step = 0; step < 10; ++step) {
    threshold->Observe(MetricsOf(0, 1e9, step));
    EXPECT_GE(threshold->At(step), 0.9);
    EXPECT_LE(threshold->At(step), 1.1);
  }
}

TEST(AdaptiveThresholdTest, ItsStateIsAllThatGoesOn) {
  const auto one = *AdaptiveThreshold::Create(MakeOptions());
  for (int step = 0; step < 5; ++step) one->Observe(MetricsOf(300, 20, step));
  const auto resumed = *AdaptiveThreshold::Create(MakeOptions());
  *resumed->state() = *one->state();
  one->Observe(MetricsOf(100, 20, 5));
  resumed->Observe(MetricsOf(100, 20, 5));
  EXPECT_EQ(one->At(6), resumed->At(6));
  EXPECT_NE(one->At(6), 1);
}

TEST(AdaptiveThresholdTest, BadOptionsAreNamed) {
  const auto with = [](auto change) {
    AdaptiveThreshold::Options options = MakeOptions();
    change(options);
    return AdaptiveThreshold::Create(options).status();
  };
  EXPECT_OK(with([](auto&) {}));
  EXPECT_THAT(with([](auto& o) { o.target_quantile = 1; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("target_quantile")));
  EXPECT_THAT(with([](auto& o) { o.learning_rate = 0; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("learning_rate")));
  EXPECT_THAT(with([](auto& o) { o.minimum = 0; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("minimum")));
  EXPECT_THAT(with([](auto& o) { o.maximum = 0.5; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("maximum")));
}

TEST(ScheduledThresholdTest, FollowsTheStepsAlone) {
  ScheduledThreshold threshold(2,
                               {.shape = Schedule::Shape::kStep, .every_steps = 2, .factor = 0.5});
  EXPECT_EQ(threshold.At(1), 2);
  threshold.Observe(MetricsOf(1000, 0, 1));
  EXPECT_EQ(threshold.At(2), 1);
  EXPECT_EQ(threshold.state(), nullptr);
}

}  // namespace
}  // namespace sotto::dp
