// One valid job, then jobs that break exactly one rule, then ten at once.
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(PlanRulesTest, TheDemoBreaksNone) {
  EXPECT_THAT(Plan(MakeDemoSpec(), MakeDemoDataset(), MakeDemoHost()), IsOk());
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
  v1::JobSpec spec = MakeDemoSpec();
  GetParam().change(spec);
  const absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDemoDataset(), MakeDemoHost());
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
                   "model.gpt2.heads", "1 to 65536"},
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
        BrokenRule{"Mode", [](v1::JobSpec& s) { s.mutable_gradient()->set_mode("ghostly"); },
                   "gradient.mode", "auto, no_dp, ghost, ghost_bk, flash"},
        BrokenRule{"ModeWithoutClipping",
                   [](v1::JobSpec& s) {
                     s.mutable_gradient()->set_mode("no_dp");
                     s.mutable_privacy()->clear_clip_norm();
                   }, "gradient.mode",
                   "must be one that clips unless privacy.not_private is true"},
        BrokenRule{"MemoryLimit",
                   [](v1::JobSpec& s) { s.mutable_gradient()->set_memory_limit_bytes(1000); },
                   "gradient.memory_limit_bytes",
                   "it takes gradient.memory_limit_bytes "},
        BrokenRule{"MicroBatchTooLarge",
                   [](v1::JobSpec& s) {
                     s.mutable_train()->set_micro_batch_size(1024);
                     s.mutable_gradient()->set_memory_limit_bytes(int64_t{1} << 30);
                   },
                   "train.micro_batch_size", "one of these would fit: train.micro_batch_size "},
        BrokenRule{"CheckpointSteps",
                   [](v1::JobSpec& s) { s.mutable_checkpoint()->set_every_steps(-1); },
                   "checkpoint.every_steps", "at least 1"},
        BrokenRule{"CheckpointKeepBest",
                   [](v1::JobSpec& s) {
                     s.mutable_data()->set_public_evaluation_file("/data/public.tokens");
                     s.mutable_checkpoint()->set_keep_best(-1);
                   },
                   "checkpoint.keep_best", "at least 1"},
        BrokenRule{"CheckpointKeepBestWithoutFile",
                   [](v1::JobSpec& s) { s.mutable_checkpoint()->set_keep_best(1); },
                   "checkpoint.keep_best", "public_evaluation_file"},
        BrokenRule{"CheckpointKeep", [](v1::JobSpec& s) { s.mutable_checkpoint()->set_keep(-1); },
                   "checkpoint.keep", "at least 1"}),
    [](const ::testing::TestParamInfo<BrokenRule>& info) { return info.param.name; });

TEST(PlanRulesTest, TenBrokenRulesAreReportedAtOnce) {
  v1::JobSpec spec = MakeDemoSpec();
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
  const absl::Status status = Plan(spec, MakeDemoDataset(), MakeDemoHost()).status();
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

TEST(PlanRulesTest, UnreachableEpsilonAndTooLittleMemoryComeTogetherWithOthers) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->set_epsilon(1e-7);
  spec.mutable_gradient()->set_memory_limit_bytes(1000);
  spec.mutable_checkpoint()->set_keep(-2);
  EXPECT_THAT(Plan(spec, MakeDemoDataset(), MakeDemoHost()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("privacy.epsilon cannot be planned"),
                             HasSubstr("gradient.memory_limit_bytes is too small"),
                             HasSubstr("checkpoint.keep"))));
}

TEST(PlanRulesTest, DataWithoutABudgetNeedsADelta) {
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_budgeted(false);
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_THAT(
      Plan(spec, dataset, MakeDemoHost()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("privacy.delta must be given")));
  spec.mutable_privacy()->set_delta(1e-6);
  EXPECT_THAT(Plan(spec, dataset, MakeDemoHost()), IsOk());
}

TEST(PlanRulesTest, SharedMemoryIsLimitedByTheHost) {
  HostFacts host = MakeDemoHost();
  host.communicator_bytes = 4096;
  EXPECT_THAT(
      Plan(MakeDemoSpec(), MakeDemoDataset(), host),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("workers.count needs"), HasSubstr("bytes of shared memory"))));
}

}  // namespace
}  // namespace sotto::planning
