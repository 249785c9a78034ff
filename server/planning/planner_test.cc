#include "server/planning/planner.h"

#include <cmath>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/accounting/batch_cap.h"
#include "server/accounting/charge.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

v1::JobPlan MakePlan(const v1::JobSpec& spec) {
  absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDemoDataset(), MakeDemoHost());
  EXPECT_OK(plan);
  return *plan;
}

TEST(PlanTest, ResolvesTheDemo) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  const v1::PrivacyPlan& privacy = plan.privacy();
  EXPECT_DOUBLE_EQ(privacy.sampling_rate(), 512.0 / 15000);
  EXPECT_EQ(privacy.planned_steps(), 300);
  EXPECT_EQ(privacy.charged_steps(), 300);
  EXPECT_EQ(privacy.delta(), 1e-6);
  EXPECT_EQ(privacy.accounting_delta(), 0.99e-6);
  EXPECT_LE(privacy.epsilon(), 3);
  EXPECT_GT(privacy.epsilon(), 2.99999);
  EXPECT_EQ(privacy.clip_norm(), 1);
  EXPECT_DOUBLE_EQ(privacy.clip_norm_applied(), 1 - privacy.batch_cap() * std::ldexp(1, -23));
  EXPECT_DOUBLE_EQ(privacy.max_loss(), 2 * std::log(257));

  EXPECT_EQ(plan.protocol_version(), 1);
  EXPECT_EQ(plan.spec().name(), "gpt2-fortunes");
  EXPECT_THAT(plan.train().lengths(), ElementsAre(16, 32, 64, 128));
  EXPECT_EQ(plan.train().micro_batch_size(), 16);
  EXPECT_EQ(plan.train().steps(), 300);
  EXPECT_EQ(plan.train().checkpoint_every_steps(), 6);
  EXPECT_EQ(plan.train().checkpoint_keep(), 3);
  EXPECT_EQ(plan.sharding().world_size(), 2);
  EXPECT_EQ(plan.sharding().threads_per_rank(), 4);
  EXPECT_EQ(plan.sharding().units_size(), 5);
  EXPECT_EQ(plan.sharding().mode_name(), "per_example");
  EXPECT_EQ(plan.sharding().mode().kept(), v1::UnitMode::EXAMPLE_GRADS);
  // Two of the four blocks are still there when the next micro-batch comes; the root always is.
  EXPECT_EQ(plan.sharding().gathers_per_micro_batch(), 2 * 4 - 2 * 2);
  EXPECT_EQ(plan.sharding().gathers_per_step(), 2 + 1);
  EXPECT_EQ(plan.sharding().reduces_per_micro_batch(), 5);
  EXPECT_EQ(plan.sharding().reduces_per_step(), 0);
  const int64_t positions = 128 * 96;  // one gradient with the tokens' embedding
  EXPECT_GE(plan.memory().held_gradients_bytes(), 16 * 4 * (plan.train().parameters() - positions));
  EXPECT_LT(plan.memory().total_bytes(), MakeDemoHost().memory_bytes / 2);
}

TEST(PlanTest, TheReleaseSharesTheCalibratedNoise) {
  const v1::PrivacyPlan privacy = MakePlan(MakeDemoSpec()).privacy();
  const double metrics = 8 * privacy.noise_multiplier();
  EXPECT_EQ(privacy.loss_noise_multiplier(), metrics);
  EXPECT_EQ(privacy.clip_fraction_noise_multiplier(), metrics);
  const std::vector<double> all = {privacy.gradient_noise_multiplier(), metrics, metrics};
  const double joint = accounting::JointNoiseMultiplier(all);
  EXPECT_GE(joint, privacy.noise_multiplier());
  EXPECT_LT(joint, privacy.noise_multiplier() * (1 + 1e-9));
  ASSERT_OK_AND_ASSIGN(
      const accounting::EpsilonCurve curve,
      accounting::EpsilonCurve::Create({privacy.sampling_rate(), privacy.noise_multiplier()}, 300,
                                       privacy.accounting_delta()));
  EXPECT_EQ(curve.At(300).epsilon, privacy.epsilon());
}

TEST(PlanTest, StrongPrivacyStillLeavesNoiseForTheMetrics) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->set_epsilon(0.05);
  const v1::JobPlan plan = MakePlan(spec);
  const v1::PrivacyPlan& privacy = plan.privacy();
  EXPECT_GT(privacy.noise_multiplier(), 10);
  EXPECT_EQ(privacy.loss_noise_multiplier(), 8 * privacy.noise_multiplier());
  EXPECT_LT(privacy.gradient_noise_multiplier(), privacy.noise_multiplier() * 1.02);
  EXPECT_EQ(plan.spec().privacy().metrics().loss_multiplier(), privacy.loss_noise_multiplier());
}

TEST(PlanTest, TheCapIsForTheBudgetsEpsilonAndTheChargedSteps) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->set_crash_reserve(0.5);
  const v1::PrivacyPlan privacy = MakePlan(spec).privacy();
  EXPECT_EQ(privacy.charged_steps(), 450);
  ASSERT_OK_AND_ASSIGN(const accounting::BatchCap cap,
                       accounting::ChooseBatchCap({15000, 512.0 / 15000, 450, 8, 1e-6}));
  EXPECT_EQ(privacy.batch_cap(), cap.examples);
  EXPECT_DOUBLE_EQ(privacy.truncation_delta(), 450 * cap.step_truncation_delta);
  EXPECT_LE(privacy.truncation_delta(), 1e-10);
}

TEST(PlanTest, TheChargeIsTheReleasesAndItsEpsilonIsWhatTheBudgetLoses) {
  const v1::PrivacyPlan privacy = MakePlan(MakeDemoSpec()).privacy();
  ASSERT_OK_AND_ASSIGN(
      const accounting::StepCharge charge,
      accounting::ChargeOf({privacy.sampling_rate(), privacy.noise_multiplier()}, 0));
  EXPECT_THAT(privacy.step_charge(), ::testing::ElementsAreArray(charge.units));
  accounting::ChargeTotals totals;
  totals.Add(charge, 300);
  EXPECT_EQ(privacy.reserved_epsilon(), accounting::EpsilonOf(totals, 1e-6));
  EXPECT_GT(privacy.reserved_epsilon(), privacy.epsilon());
}

TEST(PlanTest, StepsFollowFromEpsilonAndNoise) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_train()->clear_steps();
  spec.mutable_privacy()->set_noise_multiplier(0.9);
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_EQ(plan.privacy().noise_multiplier(), 0.9);
  EXPECT_EQ(plan.train().steps(), plan.privacy().planned_steps());
  EXPECT_LE(plan.privacy().epsilon(), 3);
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_train()->set_steps(plan.train().steps() + 1);
  EXPECT_GT(MakePlan(spec).privacy().epsilon(), 3);
}

TEST(PlanTest, EpsilonFollowsFromNoiseAndSteps) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_privacy()->set_noise_multiplier(1.3);
  const v1::PrivacyPlan privacy = MakePlan(spec).privacy();
  ASSERT_OK_AND_ASSIGN(const accounting::EpsilonCurve curve,
                       accounting::EpsilonCurve::Create({512.0 / 15000, 1.3}, 300, 0.99e-6));
  EXPECT_EQ(privacy.epsilon(), curve.At(300).epsilon);
}

TEST(PlanTest, IsAPureFunction) {
  EXPECT_EQ(MakePlan(MakeDemoSpec()).SerializeAsString(),
            MakePlan(MakeDemoSpec()).SerializeAsString());
}

TEST(PlanTest, PlanningAResolvedSpecAgainGivesTheSamePlan) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  const v1::JobPlan again = MakePlan(plan.spec());
  EXPECT_EQ(again.DebugString(), plan.DebugString());
}

TEST(PlanTest, TheScheduleHashIsThatOfTheText) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  ASSERT_OK_AND_ASSIGN(const std::string text, ScheduleText(plan));
  EXPECT_THAT(text, HasSubstr("GATHER"));
  EXPECT_EQ(plan.sharding().schedule_hash(), crypto::HexOf(crypto::Sha256Of(text)));
  EXPECT_THAT(ScheduleText(v1::JobPlan()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(PlanTest, TheMicroBatchShrinksToTheMemoryLimit) {
  v1::JobSpec spec = MakeDemoSpec();
  const int64_t full = MakePlan(spec).memory().total_bytes();
  spec.mutable_gradient()->set_memory_limit_bytes(full - 1);
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_EQ(plan.train().micro_batch_size(), 8);
  EXPECT_LT(plan.memory().total_bytes(), full);
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("micro_batch_size 8 is what the memory limit")));
}

TEST(PlanTest, MicroBatchesDoNotExceedARanksShare) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_train()->set_expected_batch_size(6);
  EXPECT_EQ(MakePlan(spec).train().micro_batch_size(), 3);
}

TEST(PlanTest, TwoPassModesGatherAgain) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_gradient()->set_mode("flash");
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_EQ(plan.sharding().gathers_per_micro_batch(), 3 * 4 - 2 * 2);
  EXPECT_EQ(plan.memory().held_gradients_bytes(), 0);
}

TEST(PlanTest, ACrashCostsTheStepsSinceTheCheckpointAndThoseGranted) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  ASSERT_OK_AND_ASSIGN(const CrashCost cost, CostOfCrash(plan));
  EXPECT_EQ(cost.steps, 6 + 2 * 3);
  EXPECT_GT(cost.epsilon, 0);
  EXPECT_LT(cost.epsilon, 0.1);
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("A crash costs up to 12 steps")));
}

TEST(PlanTest, DeltaAboveOneOverRecordsIsNoted) {
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_THAT(MakePlan(spec).notes(), Each(Not(HasSubstr("1 / max_records"))));
  spec.mutable_privacy()->set_delta(1e-3);
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("1 / max_records")));
}

TEST(PlanTest, CoarseCheckpointsAreNoted) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_checkpoint()->set_every_steps(100);
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("more than 2% of the steps")));
}

TEST(PlannerTest, ALargeEpsilonIsSaid) {
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_THAT(MakePlan(spec).notes(), Each(Not(HasSubstr("is large"))));
  spec.mutable_privacy()->set_epsilon(100);
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("epsilon 100 is large")));
}

TEST(PlannerTest, WeightDecayThatALearningRateOutgrowsIsSaid) {
  v1::JobSpec spec = MakeDemoSpec();
  v1::TrainSpec& train = *spec.mutable_train();
  train.mutable_optimizer()->mutable_sgd()->set_weight_decay(1);
  train.mutable_learning_rate()->mutable_step()->set_every_steps(150);
  train.mutable_learning_rate()->mutable_step()->set_factor(300);  // to 0.9
  EXPECT_THAT(MakePlan(spec).notes(), Each(Not(HasSubstr("turns weights round"))));
  train.mutable_learning_rate()->mutable_step()->set_factor(400);  // to 1.2
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("turns weights round")));
}

TEST(PlannerTest, AThresholdThatFollowsNoiseAloneIsSaid) {
  v1::JobSpec spec = MakeDemoSpec();
  v1::AdaptiveClipping& adaptive = *spec.mutable_privacy()->mutable_clipping()->mutable_adaptive();
  EXPECT_THAT(MakePlan(spec).notes(), Each(Not(HasSubstr("the threshold wanders"))));
  adaptive.set_target_quantile(0.01);  // 5 of 512 examples, noise of 10
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("the threshold wanders")));
}

TEST(PlanTest, TheBestCheckpointsAreKeptByTheEvaluation) {
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_EQ(MakePlan(spec).train().checkpoint_keep_best(), 0);
  spec.mutable_data()->set_public_evaluation_file("/data/public.tokens");
  spec.mutable_checkpoint()->set_keep_best(2);
  EXPECT_EQ(MakePlan(spec).train().checkpoint_keep_best(), 2);
}

TEST(PlanTest, NotPrivateJobsPromiseNothingAndChargeNothing) {
  v1::JobSpec spec = MakeNotPrivateSpec();
  spec.mutable_privacy()->set_seed(7);
  spec.mutable_privacy()->set_fixed_noise_multiplier(1);
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_budgeted(false);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, Plan(spec, dataset, MakeDemoHost()));
  EXPECT_TRUE(plan.privacy().not_private());
  EXPECT_EQ(plan.privacy().gradient_noise_multiplier(), 1);
  EXPECT_THAT(plan.privacy().step_charge(), IsEmpty());
  EXPECT_EQ(plan.privacy().epsilon(), 0);
  EXPECT_GT(plan.privacy().batch_cap(), 512);
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("promises no privacy")));
}

TEST(PlanTest, StewardsMayRunNotPrivateJobsOnDataWithABudget) {
  v1::JobSpec spec = MakeNotPrivateSpec();
  spec.mutable_gradient()->set_mode("no_dp");
  spec.mutable_privacy()->clear_clip_norm();
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan,
                       Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true}));
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("data steward")));
  EXPECT_EQ(plan.sharding().mode().kept(), v1::UnitMode::KEPT_UNSPECIFIED);
}

}  // namespace
}  // namespace sotto::planning
