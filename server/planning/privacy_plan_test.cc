// What samplers, adjacencies and noise schedules cost, checked by formulas of their own.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/accounting/orders.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

v1::DatasetFacts DatasetOf(const std::string& adjacency) {
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_adjacency(adjacency);
  return dataset;
}

v1::JobPlan MakePlan(const v1::JobSpec& spec, const v1::DatasetFacts& dataset) {
  absl::StatusOr<v1::JobPlan> plan = Plan(spec, dataset, MakeDemoHost());
  EXPECT_OK(plan);
  return plan.ok() ? *std::move(plan) : v1::JobPlan();
}

v1::JobSpec ShuffledSpec() {
  v1::JobSpec spec = MakeDemoSpec();  // 15000 places in batches of 512: 30 steps an epoch
  spec.mutable_data()->mutable_sampler()->mutable_shuffled();
  spec.mutable_privacy()->set_epsilon(8);
  return spec;
}

// delta(epsilon) of a Gaussian mechanism of sensitivity over stddev `mu`.
double GaussianDelta(double mu, double epsilon) {
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  return cdf(mu / 2 - epsilon / mu) - std::exp(epsilon) * cdf(-mu / 2 - epsilon / mu);
}

// Squared sensitivity over variance of everything a step of this segment releases, in absolute
// numbers: what the worker adds to the clipped sum, to the loss sum and to the count, against what
// neighbours can move them by.
double MuSquared(const v1::PrivacyPlan& privacy, const v1::NoiseSegment& segment,
                 double gradient_moves) {
  const double stddev =
      segment.gradient_noise_multiplier() * privacy.sensitivity_factor() * privacy.clip_norm();
  const double loss_stddev = segment.loss_noise_multiplier() * privacy.max_loss();
  const double count_stddev = segment.clip_fraction_noise_multiplier();
  return std::pow(gradient_moves / stddev, 2) + std::pow(privacy.max_loss() / loss_stddev, 2) +
         std::pow(1 / count_stddev, 2);
}

// RDP of the sampled Gaussian at an integer order, from its binomial sum.
double SampledRdp(double q, double s, int order) {
  long double sum = 0;
  long double binomial = 1;
  for (int k = 0; k <= order; ++k) {
    sum += binomial * std::pow(1 - static_cast<long double>(q), order - k) *
           std::pow(static_cast<long double>(q), k) *
           std::exp(static_cast<long double>(k) * (k - 1) / (2 * s * s));
    binomial = binomial * (order - k) / (k + 1);
  }
  return static_cast<double>(std::log(sum) / (order - 1));
}

TEST(SamplerPlanTest, PoissonIsTheDefaultAndHasOneSegment) {
  const v1::PrivacyPlan privacy = MakePlan(MakeDemoSpec(), MakeDemoDataset()).privacy();
  EXPECT_EQ(privacy.sampler().kind(), v1::SamplerPlan::POISSON);
  EXPECT_EQ(privacy.sampler().steps_per_epoch(), 1);
  EXPECT_EQ(privacy.adjacency(), "add_or_remove_one");
  EXPECT_EQ(privacy.sensitivity_factor(), 1);
  ASSERT_EQ(privacy.segments_size(), 1);
  EXPECT_EQ(privacy.segments(0).first_step(), 0);
  EXPECT_EQ(privacy.segments(0).noise_multiplier(), privacy.noise_multiplier());
  EXPECT_EQ(privacy.segments(0).charged_steps(), 300);
}

TEST(SamplerPlanTest, PoissonUnderZeroOutIsAccountedAsUnderAddOrRemove) {
  const v1::PrivacyPlan add = MakePlan(MakeDemoSpec(), MakeDemoDataset()).privacy();
  const v1::PrivacyPlan zero = MakePlan(MakeDemoSpec(), DatasetOf("zero_out")).privacy();
  EXPECT_EQ(zero.noise_multiplier(), add.noise_multiplier());
  EXPECT_EQ(zero.epsilon(), add.epsilon());
  EXPECT_EQ(zero.sensitivity_factor(), 1);
  EXPECT_EQ(zero.adjacency(), "zero_out");
}

TEST(SamplerPlanTest, AnEpochOfShuffledBatchesIsOneGaussianRelease) {
  const v1::PrivacyPlan privacy = MakePlan(ShuffledSpec(), DatasetOf("zero_out")).privacy();
  EXPECT_EQ(privacy.sampler().kind(), v1::SamplerPlan::SHUFFLED);
  EXPECT_EQ(privacy.sampler().batch_places(), 512);
  EXPECT_EQ(privacy.sampler().steps_per_epoch(), 30);
  EXPECT_EQ(privacy.sampling_rate(), 1);
  EXPECT_EQ(privacy.batch_cap(), 512);
  EXPECT_EQ(privacy.truncation_delta(), 0);
  EXPECT_EQ(privacy.charged_steps(), 10);  // epochs
  EXPECT_EQ(privacy.sensitivity_factor(), 1);
  const double mu = std::sqrt(10 * MuSquared(privacy, privacy.segments(0), privacy.clip_norm()));
  EXPECT_LE(GaussianDelta(mu, privacy.epsilon()), privacy.accounting_delta());
  EXPECT_GE(GaussianDelta(mu, 0.999 * privacy.epsilon()), privacy.accounting_delta());
}

TEST(SamplerPlanTest, AReplacedRecordMovesTheSumByTwoClipNorms) {
  const v1::PrivacyPlan privacy = MakePlan(ShuffledSpec(), DatasetOf("replace_one")).privacy();
  EXPECT_EQ(privacy.sensitivity_factor(), 2);
  // 2 C is what a neighbour moves; without the factor the noise would be half of what this needs.
  const double mu =
      std::sqrt(10 * MuSquared(privacy, privacy.segments(0), 2 * privacy.clip_norm()));
  EXPECT_LE(GaussianDelta(mu, privacy.epsilon()), privacy.accounting_delta());
  EXPECT_GE(GaussianDelta(mu, 0.999 * privacy.epsilon()), privacy.accounting_delta());
}

TEST(SamplerPlanTest, ABegunEpochCountsWhole) {
  v1::JobSpec spec = ShuffledSpec();
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_privacy()->set_noise_multiplier(3);
  spec.mutable_train()->set_steps(60);
  const double two = MakePlan(spec, DatasetOf("zero_out")).privacy().epsilon();
  spec.mutable_train()->set_steps(61);
  const v1::PrivacyPlan begun = MakePlan(spec, DatasetOf("zero_out")).privacy();
  EXPECT_EQ(begun.charged_steps(), 3);
  EXPECT_GT(begun.epsilon(), two);
  spec.mutable_train()->set_steps(90);
  EXPECT_EQ(MakePlan(spec, DatasetOf("zero_out")).privacy().epsilon(), begun.epsilon());
}

TEST(SamplerPlanTest, StepsOfShuffledBatchesAreSolvedInWholeEpochs) {
  v1::JobSpec spec = ShuffledSpec();
  spec.mutable_privacy()->set_noise_multiplier(3);
  spec.mutable_train()->clear_steps();
  const v1::PrivacyPlan privacy = MakePlan(spec, DatasetOf("zero_out")).privacy();
  EXPECT_EQ(privacy.planned_steps() % 30, 0);
  const double epochs = static_cast<double>(privacy.planned_steps()) / 30;
  const double mu_squared = MuSquared(privacy, privacy.segments(0), privacy.clip_norm());
  EXPECT_LE(GaussianDelta(std::sqrt(epochs * mu_squared), 8), privacy.accounting_delta());
  EXPECT_GT(GaussianDelta(std::sqrt((epochs + 1) * mu_squared), 8), privacy.accounting_delta());
}

TEST(SamplerPlanTest, ShuffledBatchesCostMoreThanPoissonAndSaySo) {
  v1::JobSpec spec = ShuffledSpec();
  const v1::JobPlan shuffled = MakePlan(spec, DatasetOf("zero_out"));
  EXPECT_THAT(shuffled.notes(), Contains(HasSubstr("WARNING: shuffled batches are not amplified")));
  spec.mutable_data()->mutable_sampler()->mutable_poisson();
  const v1::JobPlan poisson = MakePlan(spec, DatasetOf("zero_out"));
  EXPECT_GT(shuffled.privacy().noise_multiplier(), 1.5 * poisson.privacy().noise_multiplier());
  EXPECT_THAT(poisson.notes(), Each(Not(HasSubstr("WARNING"))));
}

TEST(SamplerPlanTest, PoissonBatchesAreRecommendedOnlyWhereTheyAreAccounted) {
  const v1::JobPlan zero_out = MakePlan(ShuffledSpec(), DatasetOf("zero_out"));
  EXPECT_THAT(zero_out.notes(), Contains(HasSubstr("Poisson batches promise the same")));
  const v1::JobPlan replace_one = MakePlan(ShuffledSpec(), DatasetOf("replace_one"));
  EXPECT_THAT(replace_one.notes(), Contains(HasSubstr("WARNING: shuffled batches")));
  EXPECT_THAT(replace_one.notes(), Each(Not(HasSubstr("Poisson"))));
}

TEST(SamplerPlanTest, FullBatchesAreGaussianReleasesOfAllRecords) {
  for (const char* adjacency : {"add_or_remove_one", "zero_out", "replace_one"}) {
    v1::JobSpec spec = MakeDemoSpec();
    spec.mutable_data()->mutable_sampler()->mutable_full_batch();
    spec.mutable_train()->clear_expected_batch_size();
    spec.mutable_train()->set_steps(20);
    const v1::JobPlan plan = MakePlan(spec, DatasetOf(adjacency));
    const v1::PrivacyPlan& privacy = plan.privacy();
    EXPECT_EQ(plan.train().expected_batch_size(), 15000);
    EXPECT_EQ(privacy.batch_cap(), 15000);
    EXPECT_EQ(privacy.sampling_rate(), 1);
    EXPECT_EQ(privacy.truncation_delta(), 0);
    const double moves =
        std::string(adjacency) == "replace_one" ? 2 * privacy.clip_norm() : privacy.clip_norm();
    const double mu = std::sqrt(20 * MuSquared(privacy, privacy.segments(0), moves));
    EXPECT_LE(GaussianDelta(mu, privacy.epsilon()), privacy.accounting_delta()) << adjacency;
    EXPECT_GE(GaussianDelta(mu, 0.999 * privacy.epsilon()), privacy.accounting_delta());
  }
}

TEST(NoiseSchedulePlanTest, SegmentsAreAStairFromOneToTheFinalFraction) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->mutable_noise_schedule()->mutable_linear()->set_final_fraction(0.5);
  const v1::PrivacyPlan privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  ASSERT_EQ(privacy.segments_size(), 32);
  EXPECT_EQ(privacy.segments(0).factor(), 1);
  EXPECT_DOUBLE_EQ(privacy.segments(31).factor(), 0.5);
  int64_t charged = 0;
  for (int i = 0; i < 32; ++i) {
    const v1::NoiseSegment& segment = privacy.segments(i);
    EXPECT_EQ(segment.first_step(), charged) << i;
    charged += segment.charged_steps();
    EXPECT_DOUBLE_EQ(segment.factor(), 1 - 0.5 * i / 31);
    EXPECT_DOUBLE_EQ(segment.noise_multiplier(), segment.factor() * privacy.noise_multiplier());
    // The joint release of gradient, loss and count has the segment's s_eff.
    double precision = 0;
    for (double s : {segment.gradient_noise_multiplier(), segment.loss_noise_multiplier(),
                     segment.clip_fraction_noise_multiplier()}) {
      precision += 1 / s / s;
    }
    EXPECT_THAT(1 / std::sqrt(precision) / segment.noise_multiplier(), DoubleNear(1, 1e-9));
  }
  EXPECT_EQ(charged, 300);
  EXPECT_EQ(privacy.charged_steps(), 300);
}

TEST(NoiseSchedulePlanTest, EpsilonIsTheSumOfTheSegmentsRdp) {
  v1::JobSpec spec = MakeDemoSpec();
  v1::StepDecay& step = *spec.mutable_privacy()->mutable_noise_schedule()->mutable_step();
  step.set_every_steps(100);
  step.set_factor(0.8);
  const v1::PrivacyPlan privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  ASSERT_EQ(privacy.segments_size(), 3);
  double best = 1e9;
  for (int order = 2; order <= 40; ++order) {
    double rdp = 0;
    for (const v1::NoiseSegment& segment : privacy.segments()) {
      rdp += 100 * SampledRdp(privacy.sampling_rate(), segment.noise_multiplier(), order);
    }
    best = std::min(best, rdp + std::log1p(-1.0 / order) -
                              std::log(privacy.accounting_delta() * order) / (order - 1));
  }
  // Finer orders gain less than half a percent over integers.
  EXPECT_LE(privacy.epsilon(), best * (1 + 1e-9));
  EXPECT_GE(privacy.epsilon(), best * 0.995);
  EXPECT_LE(privacy.epsilon(), 3);
  EXPECT_GT(privacy.epsilon(), 2.999);
}

TEST(NoiseSchedulePlanTest, EachSegmentHasItsOwnCharge) {
  v1::JobSpec spec = MakeDemoSpec();
  v1::StepDecay& step = *spec.mutable_privacy()->mutable_noise_schedule()->mutable_step();
  step.set_every_steps(120);
  step.set_factor(0.7);
  spec.mutable_privacy()->set_crash_reserve(0.1);
  const v1::PrivacyPlan privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  ASSERT_EQ(privacy.segments_size(), 3);
  EXPECT_EQ(privacy.segments(0).charged_steps(), 132);
  EXPECT_EQ(privacy.segments(2).charged_steps(), 66);
  EXPECT_EQ(privacy.charged_steps(), 330);
  const auto& orders = accounting::kBudgetOrders;
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    for (size_t i = 0; i < orders.size(); ++i) {
      if (orders[i] != std::floor(orders[i]) || orders[i] > 64) continue;
      const double units = SampledRdp(privacy.sampling_rate(), segment.noise_multiplier(),
                                      static_cast<int>(orders[i])) *
                           std::ldexp(1, 40);
      EXPECT_GE(static_cast<double>(segment.step_charge(static_cast<int>(i))), units);
      EXPECT_LE(static_cast<double>(segment.step_charge(static_cast<int>(i))),
                units * (1 + 1e-6) + 1);
    }
  }
}

TEST(NoiseSchedulePlanTest, TheCrashReserveIsRoundedOnceHoweverManySegmentsThereAre) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->mutable_noise_schedule()->mutable_linear()->set_final_fraction(0.5);
  spec.mutable_privacy()->set_crash_reserve(0.01);
  const v1::PrivacyPlan privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  ASSERT_EQ(privacy.segments_size(), 32);
  EXPECT_EQ(privacy.charged_steps(), 303);
}

TEST(NoiseSchedulePlanTest, ShuffledSegmentsKeepToEpochs) {
  v1::JobSpec spec = ShuffledSpec();
  spec.mutable_privacy()->mutable_noise_schedule()->mutable_cosine()->set_final_fraction(2);
  spec.mutable_train()->set_steps(40 * 30 + 5);
  const v1::PrivacyPlan privacy = MakePlan(spec, DatasetOf("zero_out")).privacy();
  ASSERT_EQ(privacy.segments_size(), 32);
  double mu_squared = 0;
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    EXPECT_EQ(segment.first_step() % 30, 0);
    mu_squared += static_cast<double>(segment.charged_steps()) *
                  MuSquared(privacy, segment, privacy.clip_norm());
  }
  EXPECT_EQ(privacy.charged_steps(), 41);
  EXPECT_LE(GaussianDelta(std::sqrt(mu_squared), privacy.epsilon()), privacy.accounting_delta());
  EXPECT_GE(GaussianDelta(std::sqrt(mu_squared), 0.999 * privacy.epsilon()),
            privacy.accounting_delta());
}

TEST(ClippingPlanTest, UnitThresholdsHaveSquaresThatAddUpToTheClipNorms) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->set_clip_norm(2);
  spec.mutable_privacy()->mutable_clipping()->mutable_per_unit();
  const v1::PrivacyPlan equal = MakePlan(spec, MakeDemoDataset()).privacy();
  ASSERT_EQ(equal.clipping().unit_thresholds_size(), 5);
  EXPECT_THAT(equal.clipping().unit_thresholds(), Each(DoubleNear(2 / std::sqrt(5), 1e-9)));

  v1::PerUnitClipping& own = *spec.mutable_privacy()->mutable_clipping()->mutable_per_unit();
  for (double threshold : {4.0, 1.0, 2.0, 2.0, 0.0025}) own.add_thresholds(threshold);
  spec.mutable_privacy()->clear_clip_norm();
  const v1::PrivacyPlan given = MakePlan(spec, MakeDemoDataset()).privacy();
  EXPECT_DOUBLE_EQ(given.clip_norm(), std::sqrt(25 + 0.0025 * 0.0025));
  double square_sum = 0;
  for (double threshold : given.clipping().unit_thresholds()) square_sum += threshold * threshold;
  EXPECT_LE(square_sum, given.clip_norm() * given.clip_norm());

  // A clip norm written with few digits is the bound, not the thresholds.
  spec.mutable_privacy()->set_clip_norm(4.9999);
  square_sum = 0;
  const v1::PrivacyPlan rounded = MakePlan(spec, MakeDemoDataset()).privacy();
  for (double threshold : rounded.clipping().unit_thresholds()) square_sum += threshold * threshold;
  EXPECT_LE(square_sum, 4.9999 * 4.9999);
}

TEST(ClippingPlanTest, RulesKeepTheirParametersAndTheAccounting) {
  v1::JobSpec spec = MakeDemoSpec();
  const double epsilon = MakePlan(spec, MakeDemoDataset()).privacy().epsilon();
  spec.mutable_privacy()->mutable_clipping()->mutable_automatic();
  v1::PrivacyPlan privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  EXPECT_EQ(privacy.clipping().rule(), v1::ClippingPlan::AUTOMATIC);
  EXPECT_EQ(privacy.clipping().gamma(), 0.01);
  EXPECT_EQ(privacy.epsilon(), epsilon);

  spec.mutable_privacy()->mutable_clipping()->mutable_adaptive()->set_maximum(7);
  privacy = MakePlan(spec, MakeDemoDataset()).privacy();
  EXPECT_EQ(privacy.clipping().rule(), v1::ClippingPlan::ADAPTIVE);
  EXPECT_EQ(privacy.clipping().target_quantile(), 0.5);
  EXPECT_EQ(privacy.clipping().minimum(), 1e-3);
  EXPECT_EQ(privacy.clipping().maximum(), 7);
  // The count that it follows is paid inside the joint release already.
  EXPECT_GT(privacy.clip_fraction_noise_multiplier(), 0);
  EXPECT_EQ(privacy.epsilon(), epsilon);
}

TEST(ClippingPlanTest, DefaultBoundsOfAnAdaptiveClipNormStayInItsRange) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->mutable_clipping()->mutable_adaptive();
  spec.mutable_privacy()->set_clip_norm(1e-12);
  EXPECT_EQ(MakePlan(spec, MakeDemoDataset()).privacy().clipping().minimum(), 1e-12);
  spec.mutable_privacy()->set_clip_norm(1e12);
  EXPECT_EQ(MakePlan(spec, MakeDemoDataset()).privacy().clipping().maximum(), 1e12);
}

TEST(ClippingPlanTest, TheMarginIsThatOfTheCap) {
  const v1::PrivacyPlan privacy = MakePlan(MakeDemoSpec(), MakeDemoDataset()).privacy();
  EXPECT_DOUBLE_EQ(privacy.clip_margin(),
                   std::max(std::ldexp(1, -14), privacy.batch_cap() * std::ldexp(1, -23)));
  EXPECT_DOUBLE_EQ(privacy.clip_norm_applied(), 1 - privacy.clip_margin());
}

TEST(OptimizerPlanTest, TheFloorIsAShareOfTheNoisesVariance) {
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_EQ(MakePlan(spec, MakeDemoDataset()).train().optimizer_floor(), 0);
  v1::AdamwSpec& adamw = *spec.mutable_train()->mutable_optimizer()->mutable_adamw();
  adamw.mutable_noise_correction();
  const v1::JobPlan plan = MakePlan(spec, MakeDemoDataset());
  const double stddev = plan.privacy().gradient_noise_multiplier() / 512;
  EXPECT_DOUBLE_EQ(plan.train().optimizer_floor(), 0.01 * stddev * stddev);
  adamw.mutable_noise_correction()->set_floor(3e-9);
  EXPECT_EQ(MakePlan(spec, MakeDemoDataset()).train().optimizer_floor(), 3e-9);
}

}  // namespace
}  // namespace sotto::planning
