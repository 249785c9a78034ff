// Samplers, clip norms and noise from step to step, as whole trainings carry them out.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/run_comparison.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto {
namespace {

using equivalence::RunOptions;
using equivalence::RunResult;
using equivalence::Train;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr double kNoiseMultiplier = 0.8;
constexpr double kClipNorm = 0.5;
constexpr double kLearningRate = 0.1;
constexpr double kExpectedBatchSize = 20;
constexpr double kStddev = kNoiseMultiplier * kClipNorm * kLearningRate / kExpectedBatchSize;

using Adjust = std::function<void(v1::JobPlan&)>;

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

// Elements of the parameters that differ in any bit.
int64_t Differences(const RunResult& a, const RunResult& b) {
  EXPECT_TRUE(a.succeeded && b.succeeded);
  return equivalence::Differences(a.parameters, b.parameters);
}

// ---- Noise alone: no token counts, and SGD without momentum shows what a step added. ----

RunResult TrainOnNothing(int64_t steps, const Adjust& adjust) {
  return Train(NewDirectory(), {.noise_multiplier = kNoiseMultiplier,
                                .end_step = steps,
                                .clip_norm = kClipNorm,
                                .sgd_learning_rate = kLearningRate,
                                .width = 64,
                                .score_tokens = false,
                                .adjust = adjust});
}

// Root mean square of what step `step` added, over the stddev of constant rules. 152,000 normals:
// within 1% but for 5.5 standard deviations (4e-8).
double NoiseOfStep(int64_t step, const Adjust& adjust) {
  const RunResult after = TrainOnNothing(step + 1, adjust);
  const RunResult before = TrainOnNothing(step, adjust);
  EXPECT_TRUE(after.succeeded && before.succeeded);
  if (after.parameters.empty() || after.parameters.size() != before.parameters.size()) return -1;
  double sum = 0;
  for (size_t i = 0; i < after.parameters.size(); ++i) {
    sum += std::pow((double{after.parameters[i]} - before.parameters[i]) / kStddev, 2);
  }
  return std::sqrt(sum / static_cast<double>(after.parameters.size()));
}

TEST(NoiseOfStepTest, NoiseFollowsItsSegments) {
  const Adjust adjust = [](v1::JobPlan& plan) {
    v1::NoiseSegment& later = *plan.mutable_privacy()->add_segments();
    later.set_first_step(2);
    later.set_gradient_noise_multiplier(3 * kNoiseMultiplier);
  };
  EXPECT_NEAR(NoiseOfStep(1, adjust), 1, 0.01);
  EXPECT_NEAR(NoiseOfStep(2, adjust), 3, 0.03);
}

TEST(NoiseOfStepTest, NoiseFollowsTheClipSchedule) {
  const Adjust adjust = [](v1::JobPlan& plan) {
    v1::StepDecay& step =
        *plan.mutable_spec()->mutable_privacy()->mutable_clip_schedule()->mutable_step();
    step.set_every_steps(2);
    step.set_factor(0.25);
  };
  EXPECT_NEAR(NoiseOfStep(1, adjust), 1, 0.01);
  EXPECT_NEAR(NoiseOfStep(2, adjust), 0.25, 0.0025);
  EXPECT_THAT(TrainOnNothing(4, adjust).clip_norms, ElementsAre(0.5, 0.5, 0.125, 0.125));
}

TEST(NoiseOfStepTest, ReplacedRecordsNeedTwiceTheNoise) {
  const auto with_factor = [](double factor) {
    return [factor](v1::JobPlan& plan) {
      plan.mutable_privacy()->set_adjacency("replace_one");
      plan.mutable_privacy()->set_sensitivity_factor(factor);
    };
  };
  EXPECT_NEAR(NoiseOfStep(1, with_factor(2)), 2, 0.02);
  // A plan that forgot it is not run.
  EXPECT_FALSE(TrainOnNothing(1, with_factor(1)).succeeded);
}

void UseAdaptiveClipping(v1::JobPlan& plan) {
  v1::ClippingPlan& clipping = *plan.mutable_privacy()->mutable_clipping();
  clipping.set_rule(v1::ClippingPlan::ADAPTIVE);
  clipping.set_target_quantile(0.5);
  clipping.set_learning_rate(0.2);
  clipping.set_minimum(1e-3);
  clipping.set_maximum(1e3);
}

// No example has a gradient, so none is clipped, and C falls by exp(-0.2 * 0.5) from step to step;
// noise is that of the step's own C.
TEST(NoiseOfStepTest, NoiseFollowsTheAdaptiveClipNorm) {
  const RunResult run = TrainOnNothing(3, UseAdaptiveClipping);
  ASSERT_EQ(run.clip_norms.size(), 3);
  for (int step : {0, 1, 2}) {
    EXPECT_NEAR(run.clip_norms[step], kClipNorm * std::exp(-0.1 * step), 1e-12);
  }
  EXPECT_NEAR(NoiseOfStep(2, UseAdaptiveClipping), std::exp(-0.2), 0.01);
}

TEST(NoiseOfStepTest, PlansThatPromiseTooMuchAreNotRun) {
  const auto runs = [](const Adjust& adjust) { return TrainOnNothing(1, adjust).succeeded; };
  EXPECT_TRUE(runs([](v1::JobPlan&) {}));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) { plan.mutable_privacy()->set_adjacency("none"); }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) { plan.mutable_privacy()->set_clip_margin(0); }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) { plan.mutable_privacy()->clear_segments(); }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) { plan.mutable_privacy()->clear_sampler(); }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) { plan.mutable_privacy()->clear_clipping(); }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) {  // counts without noise
    UseAdaptiveClipping(plan);
    plan.mutable_privacy()->set_not_private(false);
  }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) {  // adapts, and follows a schedule
    UseAdaptiveClipping(plan);
    plan.mutable_spec()->mutable_privacy()->mutable_clip_schedule()->mutable_linear();
  }));
}

// ---- Real gradients. ----

// Adaptive clipping with noised counts, noise correction, a clipping rule and schedules at once.
void UseEveryRule(v1::JobPlan& plan) {
  UseAdaptiveClipping(plan);
  v1::NoiseSegment& first = *plan.mutable_privacy()->mutable_segments(0);
  first.set_clip_fraction_noise_multiplier(5);
  v1::NoiseSegment& later = *plan.mutable_privacy()->add_segments();
  later = first;
  later.set_first_step(6);
  later.set_gradient_noise_multiplier(2 * first.gradient_noise_multiplier());
  v1::TrainSpec& train = *plan.mutable_spec()->mutable_train();
  train.mutable_optimizer()->mutable_adamw()->mutable_noise_correction();
  plan.mutable_train()->set_optimizer_floor(1e-4);
  train.mutable_learning_rate()->mutable_linear()->set_final_fraction(0.1);
}

RunOptions EveryRule(int world_size) {
  return {.world_size = world_size, .noise_multiplier = 0.3, .adjust = UseEveryRule};
}

TEST(TrainingRulesTest, TheClipNormIsTheSameOnEveryRankAndWorld) {
  const RunResult one = Train(NewDirectory(), EveryRule(1));
  ASSERT_EQ(one.clip_norms.size(), 10);
  EXPECT_NE(one.clip_norms[9], one.clip_norms[0]);
  for (int world_size : {2, 4}) {
    const RunResult many = Train(NewDirectory(), EveryRule(world_size));
    EXPECT_EQ(Differences(one, many), 0) << world_size;
    EXPECT_EQ(many.clip_norms, one.clip_norms) << world_size;
  }
}

TEST(TrainingRulesTest, ACheckpointHoldsTheClipNormAndTheNoiseMoment) {
  const RunResult straight = Train(NewDirectory(), EveryRule(1));
  RunOptions options = EveryRule(2);
  options.checkpoint_directory = NewDirectory();
  options.end_step = 5;
  ASSERT_TRUE(Train(NewDirectory(), options).succeeded);
  options.world_size = 1;
  options.first_step = 5;
  options.end_step = 10;
  const RunResult resumed = Train(NewDirectory(), options);
  EXPECT_EQ(Differences(straight, resumed), 0);
  EXPECT_EQ(resumed.clip_norms,
            std::vector<double>(straight.clip_norms.begin() + 5, straight.clip_norms.end()));
}

// A job whose clip norm does not adapt would forget the checkpoint's, or make one up.
TEST(TrainingRulesTest, ACheckpointOfOtherRulesIsRefused) {
  RunOptions options = EveryRule(1);
  options.checkpoint_directory = NewDirectory();
  options.end_step = 2;
  ASSERT_TRUE(Train(NewDirectory(), options).succeeded);
  options.adjust = nullptr;
  options.first_step = 2;
  options.end_step = 3;
  EXPECT_FALSE(Train(NewDirectory(), options).succeeded);
}

TEST(TrainingRulesTest, TheClipNormFollowsTheNorms) {
  for (const double clip_norm : {1e-2, 1e2}) {
    const RunResult run =
        Train(NewDirectory(), {.clip_norm = clip_norm, .adjust = UseAdaptiveClipping});
    ASSERT_EQ(run.clip_norms.size(), 10);
    // All are clipped, or none: C moves by its full rate towards the norms. Of 40 records 20 are
    // expected and some other number is drawn; the count is over the expected one.
    EXPECT_EQ(run.clip_norms[9] > run.clip_norms[0], clip_norm < 1) << clip_norm;
    EXPECT_GT(std::abs(std::log(run.clip_norms[9] / run.clip_norms[0])), 9 * 0.2 * 0.3);
  }
}

void UseSampler(v1::SamplerPlan::Kind kind, v1::JobPlan& plan) {
  plan.mutable_privacy()->mutable_sampler()->set_kind(kind);
  plan.mutable_privacy()->mutable_sampler()->set_batch_places(12);
  plan.mutable_privacy()->mutable_sampler()->set_steps_per_epoch(4);
}

// 40 records in batches of 12 places: 12, 12, 12, 4.
TEST(SamplersTest, ShuffledEpochsUseEveryRecordOnce) {
  const Adjust adjust = [](v1::JobPlan& plan) { UseSampler(v1::SamplerPlan::SHUFFLED, plan); };
  const RunResult run = Train(NewDirectory(), {.adjust = adjust});
  EXPECT_THAT(run.batch_sizes, ElementsAre(12, 12, 12, 4, 12, 12, 12, 4, 12, 12));
  EXPECT_EQ(Differences(run, Train(NewDirectory(), {.world_size = 4, .adjust = adjust})), 0);
}

TEST(SamplersTest, FullBatchesUseEveryRecordAtEveryStep) {
  const Adjust adjust = [](v1::JobPlan& plan) { UseSampler(v1::SamplerPlan::FULL_BATCH, plan); };
  const RunResult run = Train(NewDirectory(), {.end_step = 4, .adjust = adjust});
  EXPECT_THAT(run.batch_sizes, Each(40));
  EXPECT_EQ(
      Differences(run, Train(NewDirectory(), {.world_size = 2, .end_step = 4, .adjust = adjust})),
      0);
}

TEST(SamplersTest, PoissonBatchesVary) {
  const RunResult run = Train(NewDirectory(), {});
  EXPECT_GT(*std::max_element(run.batch_sizes.begin(), run.batch_sizes.end()),
            *std::min_element(run.batch_sizes.begin(), run.batch_sizes.end()));
}

TEST(SamplersTest, SamplersThatPromiseNothingAreNotRun) {
  const auto runs = [](const Adjust& adjust) {
    return Train(NewDirectory(), {.end_step = 1, .adjust = adjust}).succeeded;
  };
  EXPECT_FALSE(runs([](v1::JobPlan& plan) {  // shuffled under add_or_remove_one
    UseSampler(v1::SamplerPlan::SHUFFLED, plan);
    plan.mutable_privacy()->set_not_private(false);
  }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) {  // an epoch that the plan cuts otherwise
    UseSampler(v1::SamplerPlan::SHUFFLED, plan);
    plan.mutable_privacy()->mutable_sampler()->set_steps_per_epoch(5);
  }));
  EXPECT_FALSE(runs([](v1::JobPlan& plan) {  // a margin that is made for smaller batches
    UseSampler(v1::SamplerPlan::FULL_BATCH, plan);
    plan.mutable_privacy()->set_batch_cap(39);
  }));
}

}  // namespace
}  // namespace sotto

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
