#include "server/planning/planner.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/crypto/sha256.h"
#include "common/spec/spec_parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/accounting/batch_cap.h"
#include "server/accounting/charge.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"

namespace sotto::planning {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The demo's job.
v1::JobSpec MakeSpec() {
  absl::StatusOr<v1::JobSpec> spec = spec::ParseJobSpec(R"(
model: {gpt2: {vocabulary_size: 257, width: 96, layers: 4, heads: 4, max_length: 128}}
data: {dataset: fortunes}
privacy: {epsilon: 3, clip_norm: 1}
train: {expected_batch_size: 512, steps: 300, learning_rate: {peak: 3e-3, warmup_steps: 10}}
workers: {count: 2}
)",
                                                        spec::Format::kYaml);
  EXPECT_OK(spec);
  return *spec;
}

v1::DatasetFacts MakeDataset() {
  v1::DatasetFacts dataset;
  dataset.set_name("fortunes");
  dataset.set_path("/data/fortunes.tokens");
  dataset.set_max_records(15000);
  dataset.set_vocabulary_size(257);
  dataset.set_max_length(128);
  dataset.set_budgeted(true);
  dataset.set_budget_epsilon(8);
  dataset.set_budget_delta(1e-6);
  return dataset;
}

HostFacts MakeHost() { return {.slots = 4, .cores = 8, .memory_bytes = int64_t{8} << 30}; }

v1::JobPlan MakePlan(const v1::JobSpec& spec) {
  absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDataset(), MakeHost());
  EXPECT_OK(plan);
  return *plan;
}

v1::JobSpec MakeNotPrivateSpec() {
  v1::JobSpec spec = MakeSpec();
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_privacy()->set_not_private(true);
  return spec;
}

TEST(PlanTest, ResolvesTheDemo) {
  const v1::JobPlan plan = MakePlan(MakeSpec());
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
  EXPECT_EQ(plan.sharding().gathers_per_micro_batch(), 2 * 4 - 2);
  EXPECT_EQ(plan.sharding().reduces_per_micro_batch(), 5);
  EXPECT_GE(plan.memory().held_gradients_bytes(), 16 * 4 * plan.train().parameters());
  EXPECT_LT(plan.memory().total_bytes(), MakeHost().memory_bytes / 2);
}

TEST(PlanTest, TheReleaseSharesTheCalibratedNoise) {
  const v1::PrivacyPlan privacy = MakePlan(MakeSpec()).privacy();
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
  v1::JobSpec spec = MakeSpec();
  spec.mutable_privacy()->set_epsilon(0.05);
  const v1::JobPlan plan = MakePlan(spec);
  const v1::PrivacyPlan& privacy = plan.privacy();
  EXPECT_GT(privacy.noise_multiplier(), 10);
  EXPECT_EQ(privacy.loss_noise_multiplier(), 8 * privacy.noise_multiplier());
  EXPECT_LT(privacy.gradient_noise_multiplier(), privacy.noise_multiplier() * 1.02);
  EXPECT_EQ(plan.spec().privacy().metrics().loss_multiplier(), privacy.loss_noise_multiplier());
}

TEST(PlanTest, TheCapIsForTheBudgetsEpsilonAndTheChargedSteps) {
  v1::JobSpec spec = MakeSpec();
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
  const v1::PrivacyPlan privacy = MakePlan(MakeSpec()).privacy();
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
  v1::JobSpec spec = MakeSpec();
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
  v1::JobSpec spec = MakeSpec();
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_privacy()->set_noise_multiplier(1.3);
  const v1::PrivacyPlan privacy = MakePlan(spec).privacy();
  ASSERT_OK_AND_ASSIGN(const accounting::EpsilonCurve curve,
                       accounting::EpsilonCurve::Create({512.0 / 15000, 1.3}, 300, 0.99e-6));
  EXPECT_EQ(privacy.epsilon(), curve.At(300).epsilon);
}

TEST(PlanTest, IsAPureFunction) {
  EXPECT_EQ(MakePlan(MakeSpec()).SerializeAsString(), MakePlan(MakeSpec()).SerializeAsString());
}

TEST(PlanTest, PlanningAResolvedSpecAgainGivesTheSamePlan) {
  const v1::JobPlan plan = MakePlan(MakeSpec());
  const v1::JobPlan again = MakePlan(plan.spec());
  EXPECT_EQ(again.DebugString(), plan.DebugString());
}

TEST(PlanTest, TheScheduleHashIsThatOfTheText) {
  const v1::JobPlan plan = MakePlan(MakeSpec());
  ASSERT_OK_AND_ASSIGN(const std::string text, ScheduleText(plan));
  EXPECT_THAT(text, HasSubstr("GATHER"));
  EXPECT_EQ(plan.sharding().schedule_hash(), crypto::HexOf(crypto::Sha256Of(text)));
  EXPECT_THAT(ScheduleText(v1::JobPlan()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(PlanTest, TheMicroBatchShrinksToTheMemoryLimit) {
  v1::JobSpec spec = MakeSpec();
  const int64_t full = MakePlan(spec).memory().total_bytes();
  spec.mutable_gradient()->set_memory_limit_bytes(full - 1);
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_EQ(plan.train().micro_batch_size(), 8);
  EXPECT_LT(plan.memory().total_bytes(), full);
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("micro_batch_size 8 is what the memory limit")));
}

TEST(PlanTest, MicroBatchesDoNotExceedARanksShare) {
  v1::JobSpec spec = MakeSpec();
  spec.mutable_train()->set_expected_batch_size(6);
  EXPECT_EQ(MakePlan(spec).train().micro_batch_size(), 3);
}

TEST(PlanTest, TwoPassModesGatherAgain) {
  v1::JobSpec spec = MakeSpec();
  spec.mutable_gradient()->set_mode("flash");
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_EQ(plan.sharding().gathers_per_micro_batch(), 3 * 4 - 2);
  EXPECT_EQ(plan.memory().held_gradients_bytes(), 0);
}

TEST(PlanTest, ACrashCostsTheStepsSinceTheCheckpointAndThoseGranted) {
  const v1::JobPlan plan = MakePlan(MakeSpec());
  ASSERT_OK_AND_ASSIGN(const CrashCost cost, CostOfCrash(plan));
  EXPECT_EQ(cost.steps, 6 + 2);
  EXPECT_GT(cost.epsilon, 0);
  EXPECT_LT(cost.epsilon, 0.1);
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("A crash costs up to 8 steps")));
}

TEST(PlanTest, DeltaAboveOneOverRecordsIsNoted) {
  v1::JobSpec spec = MakeSpec();
  EXPECT_THAT(MakePlan(spec).notes(), Each(Not(HasSubstr("1 / max_records"))));
  spec.mutable_privacy()->set_delta(1e-3);
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("1 / max_records")));
}

TEST(PlanTest, CoarseCheckpointsAreNoted) {
  v1::JobSpec spec = MakeSpec();
  spec.mutable_checkpoint()->set_every_steps(100);
  EXPECT_THAT(MakePlan(spec).notes(), Contains(HasSubstr("more than 2% of the steps")));
}

TEST(PlanTest, NotPrivateJobsPromiseNothingAndChargeNothing) {
  v1::JobSpec spec = MakeNotPrivateSpec();
  spec.mutable_privacy()->set_seed(7);
  spec.mutable_privacy()->set_fixed_noise_multiplier(1);
  v1::DatasetFacts dataset = MakeDataset();
  dataset.set_budgeted(false);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, Plan(spec, dataset, MakeHost()));
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
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan,
                       Plan(spec, MakeDataset(), MakeHost(), {.data_steward = true}));
  EXPECT_THAT(plan.notes(), Contains(HasSubstr("data steward")));
  EXPECT_EQ(plan.sharding().mode().kept(), v1::UnitMode::KEPT_UNSPECIFIED);
}

// Each row breaks one rule of the demo's spec.
struct BrokenRule {
  std::string name;
  std::function<void(v1::JobSpec&)> change;
  std::string field;
  std::string rule;
};

class BrokenRuleTest : public ::testing::TestWithParam<BrokenRule> {};

TEST_P(BrokenRuleTest, IsTheOnlyViolation) {
  v1::JobSpec spec = MakeSpec();
  GetParam().change(spec);
  const absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDataset(), MakeHost());
  ASSERT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
  ASSERT_EQ(violations.size(), 1) << plan.status();
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_THAT(violations[0].rule, HasSubstr(GetParam().rule));
}

const double kNan = std::nan("");

INSTANTIATE_TEST_SUITE_P(
    Rules, BrokenRuleTest,
    ::testing::Values(
        BrokenRule{"Name", [](v1::JobSpec& s) { s.set_name("My Job"); }, "name", "a-z"},
        BrokenRule{"LongName", [](v1::JobSpec& s) { s.set_name(std::string(64, 'a')); }, "name",
                   "63"},
        BrokenRule{"NoModel", [](v1::JobSpec& s) { s.clear_model(); }, "model", "family"},
        BrokenRule{"Vocabulary",
                   [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_vocabulary_size(256); },
                   "model.gpt2.vocabulary_size", "at least the dataset's 257"},
        BrokenRule{"Width",
                   [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_width(1 << 17); },
                   "model.gpt2.width", "1 to 65536"},
        BrokenRule{"Heads", [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_heads(5); },
                   "model.gpt2.heads", "divide the width 96"},
        BrokenRule{"NoHeads", [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_heads(0); },
                   "model.gpt2.heads", "at least 1"},
        BrokenRule{"Layers", [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_layers(0); },
                   "model.gpt2.layers", "1 to 1024"},
        BrokenRule{"InitStddev",
                   [](v1::JobSpec& s) { s.mutable_model()->mutable_gpt2()->set_init_stddev(-1); },
                   "model.gpt2.init_stddev", "positive"},
        BrokenRule{"NoDataset", [](v1::JobSpec& s) { s.mutable_data()->clear_dataset(); },
                   "data.dataset", "registered dataset"},
        BrokenRule{"LengthsDescend",
                   [](v1::JobSpec& s) {
                     s.mutable_data()->add_lengths(64);
                     s.mutable_data()->add_lengths(64);
                   },
                   "data.lengths[1]", "more than 64"},
        BrokenRule{"LengthTooLong", [](v1::JobSpec& s) { s.mutable_data()->add_lengths(129); },
                   "data.lengths[0]", "max_length 128"},
        BrokenRule{"NoTarget", [](v1::JobSpec& s) { s.mutable_privacy()->clear_epsilon(); },
                   "privacy", "two of epsilon"},
        BrokenRule{"ThreeTargets",
                   [](v1::JobSpec& s) { s.mutable_privacy()->set_noise_multiplier(1); }, "privacy",
                   "two of epsilon"},
        BrokenRule{"EpsilonNan", [](v1::JobSpec& s) { s.mutable_privacy()->set_epsilon(kNan); },
                   "privacy.epsilon", "finite and positive"},
        BrokenRule{"UnreachableEpsilon",
                   [](v1::JobSpec& s) { s.mutable_privacy()->set_epsilon(1e-7); }, "privacy.epsilon",
                   "cannot be reached in 300 steps"},
        BrokenRule{"Delta", [](v1::JobSpec& s) { s.mutable_privacy()->set_delta(1); },
                   "privacy.delta", "(0, 1)"},
        BrokenRule{"ClipNorm", [](v1::JobSpec& s) { s.mutable_privacy()->set_clip_norm(0); },
                   "privacy.clip_norm", "positive"},
        BrokenRule{"MaxLoss",
                   [](v1::JobSpec& s) { s.mutable_privacy()->mutable_metrics()->set_max_loss(-1); },
                   "privacy.metrics.max_loss", "positive"},
        BrokenRule{"MetricsTooLoud",
                   [](v1::JobSpec& s) {
                     s.mutable_privacy()->mutable_metrics()->set_loss_multiplier(0.5);
                   },
                   "privacy.metrics", "leaves nothing for the gradient"},
        BrokenRule{"CrashReserve",
                   [](v1::JobSpec& s) { s.mutable_privacy()->set_crash_reserve(1.5); },
                   "privacy.crash_reserve", "[0, 1]"},
        BrokenRule{"SeedOfAPrivateJob", [](v1::JobSpec& s) { s.mutable_privacy()->set_seed(1); },
                   "privacy.seed", "private job"},
        BrokenRule{"FixedNoiseOfAPrivateJob",
                   [](v1::JobSpec& s) { s.mutable_privacy()->set_fixed_noise_multiplier(1); },
                   "privacy.fixed_noise_multiplier", "private job"},
        BrokenRule{"NotPrivateOnABudget", [](v1::JobSpec& s) { s = MakeNotPrivateSpec(); },
                   "privacy.not_private", "data steward"},
        BrokenRule{"BatchTooLarge",
                   [](v1::JobSpec& s) { s.mutable_train()->set_expected_batch_size(15001); },
                   "train.expected_batch_size", "15000 records"},
        BrokenRule{"NoBatch", [](v1::JobSpec& s) { s.mutable_train()->clear_expected_batch_size(); },
                   "train.expected_batch_size", "must be given"},
        BrokenRule{"Steps", [](v1::JobSpec& s) {
                     s.mutable_train()->set_steps(0);
                     s.mutable_train()->mutable_learning_rate()->clear_warmup_steps();
                   }, "train.steps", "1 to"},
        BrokenRule{"MicroBatch", [](v1::JobSpec& s) { s.mutable_train()->set_micro_batch_size(-1); },
                   "train.micro_batch_size", "1 to 1024"},
        BrokenRule{"Reduction",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->set_loss_reduction(static_cast<v1::LossReduction>(9));
                   },
                   "train.loss_reduction", "known"},
        BrokenRule{"EvaluationWithoutFile",
                   [](v1::JobSpec& s) { s.mutable_train()->set_evaluation_every_steps(10); },
                   "train.evaluation_every_steps", "public_evaluation_file"},
        BrokenRule{"Momentum",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_optimizer()->mutable_sgd()->set_momentum(1);
                   },
                   "train.optimizer.sgd.momentum", "[0, 1)"},
        BrokenRule{"Beta",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_optimizer()->mutable_adamw()->set_beta2(kNan);
                   },
                   "train.optimizer.adamw.beta2", "[0, 1)"},
        BrokenRule{"NoPeak",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_learning_rate()->clear_peak();
                   },
                   "train.learning_rate.peak", "must be given"},
        BrokenRule{"Warmup",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_learning_rate()->set_warmup_steps(301);
                   },
                   "train.learning_rate.warmup_steps", "train.steps"},
        BrokenRule{"NotConstant",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_learning_rate()->set_constant(false);
                   },
                   "train.learning_rate.constant", "left out"},
        BrokenRule{"FinalFraction",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->mutable_learning_rate()->mutable_cosine()->set_final_fraction(
                         1.1);
                   },
                   "train.learning_rate.cosine.final_fraction", "[0, 1]"},
        BrokenRule{"TooManyWorkers", [](v1::JobSpec& s) { s.mutable_workers()->set_count(5); },
                   "workers.count", "4 slots"},
        BrokenRule{"Strategy",
                   [](v1::JobSpec& s) {
                     s.mutable_workers()->set_strategy(static_cast<v1::Strategy>(7));
                   },
                   "workers.strategy", "known"},
        BrokenRule{"GatheredSlots",
                   [](v1::JobSpec& s) { s.mutable_workers()->set_gathered_slots(-1); },
                   "workers.gathered_slots", "1 to 1024"},
        BrokenRule{"Mode", [](v1::JobSpec& s) { s.mutable_gradient()->set_mode("ghost"); },
                   "gradient.mode", "no_dp, flash, per_example"},
        BrokenRule{"ModeWithoutClipping",
                   [](v1::JobSpec& s) { s.mutable_gradient()->set_mode("no_dp"); }, "gradient.mode",
                   "does not clip"},
        BrokenRule{"MemoryLimit",
                   [](v1::JobSpec& s) { s.mutable_gradient()->set_memory_limit_bytes(1000); },
                   "gradient.memory_limit_bytes", "too small"},
        BrokenRule{"MicroBatchTooLarge",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->set_micro_batch_size(1024);
                     s.mutable_gradient()->set_memory_limit_bytes(int64_t{1} << 30);
                   },
                   "train.micro_batch_size", "bytes per rank"},
        BrokenRule{"CheckpointSteps",
                   [](v1::JobSpec& s) { s.mutable_checkpoint()->set_every_steps(-1); },
                   "checkpoint.every_steps", "at least 1"},
        BrokenRule{"CheckpointKeep", [](v1::JobSpec& s) { s.mutable_checkpoint()->set_keep(-1); },
                   "checkpoint.keep", "at least 1"}),
    [](const ::testing::TestParamInfo<BrokenRule>& info) { return info.param.name; });

TEST(PlanTest, TenBrokenRulesAreReportedAtOnce) {
  v1::JobSpec spec = MakeSpec();
  spec.set_name("Bad Name");
  spec.mutable_model()->mutable_gpt2()->set_heads(7);
  spec.mutable_data()->add_lengths(500);
  spec.mutable_privacy()->set_epsilon(-3);
  spec.mutable_privacy()->set_clip_norm(kNan);
  spec.mutable_train()->set_expected_batch_size(1e9);
  spec.mutable_train()->mutable_learning_rate()->set_peak(0);
  spec.mutable_workers()->set_count(99);
  spec.mutable_gradient()->set_mode("magic");
  spec.mutable_checkpoint()->set_keep(-2);
  const absl::Status status = Plan(spec, MakeDataset(), MakeHost()).status();
  std::vector<std::string> fields;
  for (const spec::Violation& violation : spec::ViolationsOf(status)) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, ::testing::UnorderedElementsAre("name", "model.gpt2.heads", "data.lengths[0]",
                                                      "privacy.epsilon", "privacy.clip_norm",
                                                      "train.expected_batch_size",
                                                      "train.learning_rate.peak", "workers.count",
                                                      "gradient.mode", "checkpoint.keep"));
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("workers.count must be 1 to the coordinator's 4 slots, "
                                       "but is 99"),
                             HasSubstr("privacy.epsilon must be finite and positive, but is "
                                       "-3"))));
}

TEST(PlanTest, UnreachableEpsilonAndTooLittleMemoryComeTogetherWithOthers) {
  v1::JobSpec spec = MakeSpec();
  spec.mutable_privacy()->set_epsilon(1e-7);
  spec.mutable_gradient()->set_memory_limit_bytes(1000);
  spec.mutable_checkpoint()->set_keep(-2);
  EXPECT_THAT(Plan(spec, MakeDataset(), MakeHost()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("privacy.epsilon cannot be planned"),
                             HasSubstr("gradient.memory_limit_bytes is too small"),
                             HasSubstr("checkpoint.keep"))));
}

TEST(PlanTest, DataWithoutABudgetNeedsADelta) {
  v1::DatasetFacts dataset = MakeDataset();
  dataset.set_budgeted(false);
  v1::JobSpec spec = MakeSpec();
  EXPECT_THAT(Plan(spec, dataset, MakeHost()), StatusIs(absl::StatusCode::kInvalidArgument,
                                                        HasSubstr("privacy.delta must be given")));
  spec.mutable_privacy()->set_delta(1e-6);
  EXPECT_THAT(Plan(spec, dataset, MakeHost()), IsOk());
}

TEST(PlanTest, SharedMemoryIsLimitedByTheHost) {
  HostFacts host = MakeHost();
  host.communicator_bytes = 4096;
  EXPECT_THAT(
      Plan(MakeSpec(), MakeDataset(), host),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("workers.count needs"), HasSubstr("bytes of shared memory"))));
}

}  // namespace
}  // namespace sotto::planning
