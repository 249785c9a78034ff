#include "worker/dp/mechanism.h"

#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "ATen/ops/from_blob.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/chacha_normals.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/statistics_reader.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

static_assert(!std::is_copy_constructible_v<ClippedSum>);
static_assert(!std::is_copy_constructible_v<NoisedGradient>);
static_assert(!std::is_default_constructible_v<NoisedMetrics>);
static_assert(!std::is_default_constructible_v<ClippedSumPasskey>);

constexpr double kExpectedBatchSize = 16;
constexpr double kMaxLoss = 10;

Mechanism::Options MakeOptions(double multiplier, uint64_t seed = 1) {
  return {
      .secret = crypto::Secret::FromPublicSeed(seed),
      .noise = {{.gradient_multiplier = multiplier,
                 .loss_multiplier = multiplier,
                 .clip_fraction_multiplier = multiplier}},
      .max_loss = kMaxLoss,
      .expected_batch_size = kExpectedBatchSize,
      .parameters = 96,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  };
}

// A unit of 128 elements of which [0, 40) and [64, 120) are parameters.
class Shard {
 public:
  Shard() : values_(128, 0.f) {}

  // The part [begin, end) as one rank's slice.
  ShardSlice Slice(int64_t begin, int64_t end, int64_t unit_base = 1 << 20) {
    ShardSlice slice{.values = at::from_blob(values_.data() + begin, {end - begin}, at::kFloat),
                     .canonical_base = unit_base + begin};
    for (Interval used : {Interval{0, 40}, Interval{64, 120}}) {
      const Interval own{std::max(used.begin, begin) - begin, std::min(used.end, end) - begin};
      if (own.begin < own.end) slice.used.push_back(own);
    }
    return slice;
  }
  const std::vector<float>& values() const { return values_; }
  std::vector<float>& values() { return values_; }

 private:
  std::vector<float> values_;
};

ClippedSum MakeSum(std::vector<ShardSlice> slices, double sensitivity = 1,
                   PrivateStatistics statistics = {}) {
  return ClippedSum(ClippedSumPasskey::Vouch(), std::move(slices), std::move(statistics),
                    SensitivityOfFlatClipping(sensitivity));
}

struct NoisedRelease {
  NoisedGradient gradient;
  NoisedMetrics metrics;
};

NoisedRelease Release(Mechanism::Options options, ClippedSum sum, int64_t step = 0) {
  const auto mechanism = *Mechanism::Create(std::move(options));
  NoisedGradient gradient = *mechanism->Release(std::move(sum), grant::GrantStep(step));
  NoisedMetrics metrics = *mechanism->Report(gradient);
  return {std::move(gradient), std::move(metrics)};
}

std::vector<float> NoiseOf(double multiplier, double sensitivity, int64_t step, uint64_t seed) {
  Shard shard;
  Release(MakeOptions(multiplier, seed), MakeSum({shard.Slice(0, 128)}, sensitivity), step);
  return shard.values();
}

// 96 normals: their mean square is chi-square over 96, within [0.4, 1.9] but for 1e-6.
double MeanSquare(const std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += value * value;
  return sum / 96;
}

TEST(MechanismTest, NoiseScalesWithMultiplierAndSensitivity) {
  const double mean_square = MeanSquare(NoiseOf(2, /*sensitivity=*/3, 0, 1)) / (2 * 3 * 2 * 3);
  EXPECT_GT(mean_square, 0.4);
  EXPECT_LT(mean_square, 1.9);
}

TEST(MechanismTest, PaddingGetsNoNoise) {
  const std::vector<float> noise = NoiseOf(1, 1, 0, 1);
  EXPECT_THAT(std::vector<float>(noise.begin() + 40, noise.begin() + 64), Each(0));
  EXPECT_THAT(std::vector<float>(noise.begin() + 120, noise.end()), Each(0));
  EXPECT_THAT(std::vector<float>(noise.begin(), noise.begin() + 40), Each(::testing::Ne(0)));
  EXPECT_THAT(std::vector<float>(noise.begin() + 64, noise.begin() + 120), Each(::testing::Ne(0)));
}

TEST(MechanismTest, NoiseDoesNotDependOnTheSlicing) {
  const std::vector<float> whole = NoiseOf(1, 1, 5, 1);
  for (int world_size : {2, 4}) {
    Shard shard;
    for (int rank = 0; rank < world_size; ++rank) {
      const int64_t size = 128 / world_size;
      Release(MakeOptions(1), MakeSum({shard.Slice(rank * size, (rank + 1) * size)}), /*step=*/5);
    }
    EXPECT_EQ(shard.values(), whole) << world_size;
  }
}

TEST(MechanismTest, StepsAndSecretsGiveFreshNoise) {
  const std::vector<float> noise = NoiseOf(1, 1, 0, 1);
  for (const std::vector<float>& other : {NoiseOf(1, 1, 1, 1), NoiseOf(1, 1, 0, 2)}) {
    for (int i = 0; i < 40; ++i) EXPECT_NE(noise[i], other[i]);
  }
}

TEST(MechanismTest, NoiseIsAddedToTheSum) {
  const std::vector<float> noise = NoiseOf(1, 1, 0, 1);
  Shard shard;
  shard.values()[3] = 100;
  const NoisedRelease release = Release(MakeOptions(1), MakeSum({shard.Slice(0, 128)}));
  EXPECT_NEAR(shard.values()[3], 100 + noise[3], 1e-5);
  EXPECT_EQ(release.gradient.expected_batch_size(), kExpectedBatchSize);
  EXPECT_EQ(release.gradient.sums()[0].values.data_ptr<float>(), shard.values().data());
}

PrivateStatistics ThreeExamples() {
  PrivateStatistics statistics;
  StatisticsReader::AddExample(statistics, 2.5, kMaxLoss, /*was_clipped=*/true);
  StatisticsReader::AddExample(statistics, 25, kMaxLoss, /*was_clipped=*/false);
  StatisticsReader::AddExample(statistics, NAN, kMaxLoss, /*was_clipped=*/true);
  return statistics;
}

TEST(MechanismTest, MetricsCarryNoiseOfTheStatedSize) {
  Shard shard;
  const NoisedRelease release =
      Release(MakeOptions(2), MakeSum({shard.Slice(0, 128)}, 1, ThreeExamples()), /*step=*/7);
  const NoisedMetrics& metrics = release.metrics;
  std::array<double, 2> normals;
  kernels::FillNormals(kernels::ChaChaKey::FromBytes(crypto::DeriveKey(
                           crypto::Secret::FromPublicSeed(1), "metrics noise", 7)),
                       0, absl::MakeSpan(normals));
  EXPECT_EQ(metrics.step(), 7);
  EXPECT_EQ(metrics.attempt(), 1);
  EXPECT_NEAR(metrics.noised_mean_loss(), (12.5 + 2 * kMaxLoss * normals[0]) / kExpectedBatchSize,
              1e-12);
  EXPECT_NEAR(metrics.mean_loss_standard_error(), 2 * kMaxLoss / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(metrics.noised_clip_fraction(), (2 + 2 * normals[1]) / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(metrics.clip_fraction_standard_error(), 2 / kExpectedBatchSize, 1e-12);
  EXPECT_FALSE(metrics.raw().has_value());
}

TEST(MechanismTest, AccuracyLeavesWithItsNoiseOrNotAtAll) {
  const auto statistics = [] {
    PrivateStatistics sums;
    StatisticsReader::AddExample(sums, 1, kMaxLoss, /*was_clipped=*/false, /*found_label=*/true);
    StatisticsReader::AddExample(sums, 1, kMaxLoss, /*was_clipped=*/false, /*found_label=*/false);
    StatisticsReader::AddExample(sums, 1, kMaxLoss, /*was_clipped=*/false, /*found_label=*/true);
    return sums;
  };
  Shard shard;
  Mechanism::Options options = MakeOptions(2);
  options.noise[0].accuracy_multiplier = 4;
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, 1, statistics()), /*step=*/7);
  std::array<double, 3> normals;
  kernels::FillNormals(kernels::ChaChaKey::FromBytes(crypto::DeriveKey(
                           crypto::Secret::FromPublicSeed(1), "metrics noise", 7)),
                       0, absl::MakeSpan(normals));
  ASSERT_TRUE(release.metrics.noised_accuracy().has_value());
  EXPECT_NEAR(*release.metrics.noised_accuracy(), (2 + 4 * normals[2]) / kExpectedBatchSize, 1e-12);
  EXPECT_GT(std::abs(*release.metrics.noised_accuracy() - 2 / kExpectedBatchSize), 1e-6);
  EXPECT_NEAR(release.metrics.accuracy_standard_error(), 4 / kExpectedBatchSize, 1e-12);

  const NoisedRelease silent =
      Release(MakeOptions(2), MakeSum({shard.Slice(0, 128)}, 1, statistics()), /*step=*/7);
  EXPECT_FALSE(silent.metrics.noised_accuracy().has_value());
}

// The loss that leaves differs from the raw one: it has noise in it. (The twin that sends the raw
// loss fails here.)
TEST(MechanismTest, ReportedLossIsNotTheRawLoss) {
  Shard shard;
  const NoisedRelease release =
      Release(MakeOptions(2), MakeSum({shard.Slice(0, 128)}, 1, ThreeExamples()));
  EXPECT_GT(std::abs(release.metrics.noised_mean_loss() - 12.5 / kExpectedBatchSize), 1e-6);
  EXPECT_GT(std::abs(release.metrics.noised_clip_fraction() - 2 / kExpectedBatchSize), 1e-6);
}

TEST(MechanismTest, MetricsSumOverRanks) {
  Shard shard;
  Mechanism::Options options = MakeOptions(0);
  options.sum_over_ranks = [](absl::Span<double> values) {
    for (double& value : values) value *= 3;  // two more ranks with the same
    return absl::OkStatus();
  };
  shard.values()[0] = 3;
  shard.values()[1] = 4;
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, 1, ThreeExamples()));
  EXPECT_NEAR(release.metrics.noised_mean_loss(), 3 * 12.5 / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(release.metrics.noised_gradient_norm(), std::sqrt(3.0) * 5 / kExpectedBatchSize,
              1e-12);
}

TEST(MechanismTest, NoiseFloorIsSubtractedFromTheNorm) {
  Shard shard;
  shard.values()[0] = 1000;
  const NoisedRelease release = Release(MakeOptions(1), MakeSum({shard.Slice(0, 128)}));
  // The cross term of signal and noise has standard deviation 2 * 1000; 6 of them.
  EXPECT_NEAR(std::pow(release.metrics.corrected_gradient_norm() * kExpectedBatchSize, 2), 1e6,
              6 * 2000 + 6 * std::sqrt(2 * 96));
  EXPECT_NEAR(release.metrics.gradient_norm_resolution(),
              std::pow(2 * 96, 0.25) / kExpectedBatchSize, 1e-12);

  Shard noise_only;
  Mechanism::Options many = MakeOptions(1);
  many.parameters = 1000;  // more noise is expected than there is: nothing is left
  EXPECT_EQ(Release(std::move(many), MakeSum({noise_only.Slice(0, 128)}))
                .metrics.corrected_gradient_norm(),
            0);
}

TEST(MechanismTest, EmptyBatchIsReleasedWithNoise) {
  Shard shard;
  const NoisedRelease release = Release(MakeOptions(1), MakeSum({shard.Slice(0, 128)}));
  EXPECT_GT(release.metrics.noised_gradient_norm(), 0);
  EXPECT_NE(release.metrics.noised_mean_loss(), 0);
}

TEST(MechanismTest, RawValuesComeOnlyWhenAsked) {
  Shard shard;
  shard.values()[0] = 3;
  Mechanism::Options options = MakeOptions(1);
  options.report_raw = true;
  PrivateStatistics statistics;
  StatisticsReader::AddExample(statistics, 20, kMaxLoss, true);
  StatisticsReader::AddExample(statistics, 30, kMaxLoss, false);
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, 1, std::move(statistics)));
  ASSERT_TRUE(release.metrics.raw().has_value());
  EXPECT_EQ(release.metrics.raw()->mean_loss, 25);
  EXPECT_EQ(release.metrics.raw()->clip_fraction, 0.5);
  EXPECT_EQ(release.metrics.raw()->sampled_batch_size, 2);
  EXPECT_NEAR(release.metrics.raw()->gradient_norm, 3 / kExpectedBatchSize, 1e-12);
  EXPECT_FALSE(release.metrics.raw()->accuracy.has_value());
}

TEST(MechanismTest, RawAccuracyIsTheShareOfFoundLabels) {
  Shard shard;
  Mechanism::Options options = MakeOptions(1);
  options.report_raw = true;
  PrivateStatistics statistics;
  for (const bool found : {true, false, true, true}) {
    StatisticsReader::AddExample(statistics, 1, kMaxLoss, /*was_clipped=*/false, found);
  }
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, 1, std::move(statistics)));
  ASSERT_TRUE(release.metrics.raw().has_value());
  EXPECT_EQ(release.metrics.raw()->accuracy, 0.75);
  EXPECT_FALSE(release.metrics.noised_accuracy().has_value());
}

std::vector<float> NoiseWith(Mechanism::Options options, int64_t step) {
  Shard shard;
  Release(std::move(options), MakeSum({shard.Slice(0, 128)}), step);
  return shard.values();
}

TEST(MechanismTest, EverySegmentHasItsOwnNoise) {
  const auto scheduled = [] {
    Mechanism::Options options = MakeOptions(1);
    options.noise.push_back({.first_step = 5,
                             .gradient_multiplier = 3,
                             .loss_multiplier = 3,
                             .clip_fraction_multiplier = 3});
    return options;
  };
  for (int64_t step : {0, 4}) {
    EXPECT_EQ(NoiseWith(scheduled(), step), NoiseWith(MakeOptions(1), step)) << step;
  }
  for (int64_t step : {5, 1000}) {
    EXPECT_EQ(NoiseWith(scheduled(), step), NoiseWith(MakeOptions(3), step)) << step;
  }
  Shard shard;
  const NoisedRelease late = Release(scheduled(), MakeSum({shard.Slice(0, 128)}), /*step=*/5);
  EXPECT_NEAR(late.metrics.mean_loss_standard_error(), 3 * kMaxLoss / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(late.metrics.clip_fraction_standard_error(), 3 / kExpectedBatchSize, 1e-12);
}

// A neighbour that replaces a record moves the gradient sum by 2 C, and the loss sum and the count
// by no more than before.
TEST(MechanismTest, ReplacingARecordDoublesTheGradientsNoise) {
  Mechanism::Options options = MakeOptions(1);
  options.sensitivity_factor = 2;
  Shard shard;
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, /*sensitivity=*/3));
  EXPECT_EQ(shard.values(), NoiseOf(1, /*sensitivity=*/6, 0, 1));
  EXPECT_EQ(release.gradient.noise_stddev(), 6);
  EXPECT_EQ(release.metrics.clip_norm(), 3);
  EXPECT_NEAR(release.metrics.mean_loss_standard_error(), kMaxLoss / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(release.metrics.clip_fraction_standard_error(), 1 / kExpectedBatchSize, 1e-12);
}

// Two replicas that hold the whole sum: their losses add up, their gradient is one.
TEST(MechanismTest, ReplicasCountOnceInTheNorm) {
  Shard shard;
  shard.values()[0] = 3;
  Mechanism::Options options = MakeOptions(0);
  options.sum_over_ranks = [](absl::Span<double> values) {
    for (double& value : values) value *= 2;
    return absl::OkStatus();
  };
  options.sum_over_shards = [](absl::Span<double>) { return absl::OkStatus(); };
  const NoisedRelease release =
      Release(std::move(options), MakeSum({shard.Slice(0, 128)}, 1, ThreeExamples()));
  EXPECT_NEAR(release.metrics.noised_mean_loss(), 2 * 12.5 / kExpectedBatchSize, 1e-12);
  EXPECT_NEAR(release.metrics.noised_gradient_norm(), 3 / kExpectedBatchSize, 1e-12);
}

TEST(MechanismTest, FailureOfTheSumOverRanksIsReturned) {
  Shard shard;
  Mechanism::Options options = MakeOptions(1);
  options.sum_over_ranks = [](absl::Span<double>) { return absl::UnavailableError("rank 1 left"); };
  auto mechanism = *Mechanism::Create(std::move(options));
  EXPECT_THAT(mechanism->Release(MakeSum({shard.Slice(0, 128)}), grant::GrantStep(0)).status(),
              StatusIs(absl::StatusCode::kUnavailable));

  Mechanism::Options later = MakeOptions(1);
  later.sum_over_shards = [](absl::Span<double>) { return absl::UnavailableError("rank 1 left"); };
  mechanism = *Mechanism::Create(std::move(later));
  const auto noised = mechanism->Release(MakeSum({shard.Slice(0, 128)}), grant::GrantStep(0));
  ASSERT_OK(noised);
  EXPECT_THAT(mechanism->Report(*noised).status(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(MechanismTest, BadOptionsAreNamed) {
  Mechanism::Options negative = MakeOptions(-1);
  EXPECT_THAT(Mechanism::Create(std::move(negative)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gradient_multiplier")));
  for (const std::vector<NoiseSegment>& segments : std::vector<std::vector<NoiseSegment>>{
           {}, {{.first_step = 1}}, {{.first_step = 0}, {.first_step = 0}}}) {
    Mechanism::Options options = MakeOptions(1);
    options.noise = segments;
    EXPECT_THAT(Mechanism::Create(std::move(options)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("noise schedule")));
  }
  Mechanism::Options no_factor = MakeOptions(1);
  no_factor.sensitivity_factor = 0;
  EXPECT_THAT(Mechanism::Create(std::move(no_factor)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sensitivity_factor")));
  Mechanism::Options no_bound = MakeOptions(1);
  no_bound.max_loss = 0;
  EXPECT_THAT(Mechanism::Create(std::move(no_bound)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_loss")));
  Mechanism::Options no_batch = MakeOptions(1);
  no_batch.expected_batch_size = 0;
  EXPECT_THAT(Mechanism::Create(std::move(no_batch)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected_batch_size")));
}

}  // namespace
}  // namespace sotto::dp
