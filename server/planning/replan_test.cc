// Plans of jobs that go on with other workers.
#include <functional>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/planner.h"
#include "server/planning/same_result.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::JobPlan MakePlan(const v1::JobSpec& spec) {
  absl::StatusOr<v1::JobPlan> plan =
      Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true});
  EXPECT_OK(plan);
  return plan.ok() ? *std::move(plan) : v1::JobPlan();
}

v1::WorkersSpec Workers(int count, v1::Strategy strategy = v1::STRATEGY_UNSPECIFIED) {
  v1::WorkersSpec workers;
  workers.set_count(count);
  workers.set_strategy(strategy);
  return workers;
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const spec::Violation& violation : spec::ViolationsOf(status)) {
    fields.push_back(violation.field);
  }
  return fields;
}

TEST(ReplanTest, WithoutAChangeThePlanStaysByteForByte) {
  std::vector<v1::JobSpec> specs = {MakeDemoSpec(), MakeNotPrivateSpec()};
  const auto add = [&](const std::function<void(v1::JobSpec&)>& change) {
    change(specs.emplace_back(MakeDemoSpec()));
  };
  add([](v1::JobSpec& s) { s.mutable_workers()->set_strategy(v1::HYBRID_SHARD); });
  add([](v1::JobSpec& s) { s.mutable_workers()->set_strategy(v1::NO_SHARD); });
  add([](v1::JobSpec& s) { s.mutable_gradient()->set_mode("auto"); });
  add([](v1::JobSpec& s) { s.mutable_gradient()->set_mode("flash_fsdp_bk"); });
  add([](v1::JobSpec& s) { s.mutable_privacy()->mutable_clipping()->mutable_per_unit(); });
  add([](v1::JobSpec& s) { s.mutable_privacy()->mutable_clipping()->mutable_adaptive(); });
  add([](v1::JobSpec& s) {
    s.mutable_privacy()->mutable_noise_schedule()->mutable_linear()->set_final_fraction(0.5);
  });
  add([](v1::JobSpec& s) {
    s.mutable_train()->clear_steps();
    s.mutable_privacy()->set_noise_multiplier(1);
    s.mutable_privacy()->set_crash_reserve(0.5);
  });
  add([](v1::JobSpec& s) {
    s.mutable_train()->mutable_optimizer()->mutable_adamw()->mutable_noise_correction();
    s.mutable_train()->mutable_activation_checkpointing();
    s.mutable_workers()->mutable_reshard_after_forward()->add_keep_gathered("h.0*");
  });
  for (const v1::JobSpec& spec : specs) {
    const v1::JobPlan plan = MakePlan(spec);
    const absl::StatusOr<v1::JobPlan> again = Replan(plan, {}, MakeDemoHost());
    ASSERT_OK(again) << spec.ShortDebugString();
    EXPECT_EQ(again->DebugString(), plan.DebugString());
  }
}

// A job may be paused while its server is replaced by a newer one.
TEST(ReplanTest, WorkersSpeakTheServersProtocol) {
  v1::JobPlan plan = MakePlan(MakeDemoSpec());
  const int current = plan.protocol_version();
  plan.set_protocol_version(current - 1);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan changed, Replan(plan, {}, MakeDemoHost()));
  EXPECT_EQ(changed.protocol_version(), current);
}

TEST(ReplanTest, OtherWorkersChangePlacementAlone) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan changed,
                       Replan(plan, Workers(4, v1::SHARD_GRAD_OP), MakeDemoHost()));
  EXPECT_EQ(changed.sharding().world_size(), 4);
  EXPECT_EQ(changed.sharding().strategy(), v1::SHARD_GRAD_OP);
  EXPECT_EQ(changed.sharding().threads_per_rank(), 2);
  EXPECT_EQ(changed.spec().workers().count(), 4);
  EXPECT_NE(changed.sharding().schedule_hash(), plan.sharding().schedule_hash());
  EXPECT_NE(changed.memory().total_bytes(), plan.memory().total_bytes());
  EXPECT_EQ(changed.privacy().DebugString(), plan.privacy().DebugString());
  EXPECT_EQ(changed.train().micro_batch_size(), plan.train().micro_batch_size());
  EXPECT_EQ(changed.spec().train().micro_batch_size(), 0) << "as submitted: the plan's own choice";
  EXPECT_OK(ScheduleText(changed));
  // What a job of these workers would have been, but for the micro-batches that it keeps.
  v1::JobSpec spec = MakeDemoSpec();
  *spec.mutable_workers() = Workers(4, v1::SHARD_GRAD_OP);
  spec.mutable_train()->set_micro_batch_size(plan.train().micro_batch_size());
  const v1::JobPlan fresh = MakePlan(spec);
  EXPECT_EQ(changed.sharding().DebugString(), fresh.sharding().DebugString());
  EXPECT_EQ(changed.memory().DebugString(), fresh.memory().DebugString());
}

TEST(ReplanTest, WhatAStrategyHasNoUseForGoesWithIt) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_workers()->set_count(4);
  spec.mutable_workers()->set_strategy(v1::HYBRID_SHARD);
  spec.mutable_workers()->mutable_reshard_after_forward()->set_none(true);
  const v1::JobPlan hybrid = MakePlan(spec);
  ASSERT_EQ(hybrid.sharding().shard_group_size(), 2);
  for (const v1::Strategy strategy : {v1::FULL_SHARD, v1::SHARD_GRAD_OP, v1::NO_SHARD}) {
    const absl::StatusOr<v1::JobPlan> changed =
        Replan(hybrid, Workers(0, strategy), MakeDemoHost());
    ASSERT_OK(changed) << v1::Strategy_Name(strategy);
    EXPECT_EQ(changed->sharding().strategy(), strategy);
    const absl::StatusOr<v1::JobPlan> back =
        Replan(*changed, Workers(0, v1::HYBRID_SHARD), MakeDemoHost());
    ASSERT_OK(back) << v1::Strategy_Name(strategy);
    EXPECT_EQ(back->sharding().shard_group_size(), 2);
  }
}

TEST(ReplanTest, RefusesWorkersThatTheHostOrTheRulesDoNotAllow) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  EXPECT_THAT(Replan(plan, Workers(5), MakeDemoHost()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("workers.count must be 1 to the coordinator's 4 slots")));
  v1::WorkersSpec groups = Workers(4);
  groups.set_shard_group_size(2);
  EXPECT_THAT(FieldsOf(Replan(plan, groups, MakeDemoHost()).status()),
              ElementsAre("workers.shard_group_size"));
  groups.set_strategy(v1::HYBRID_SHARD);
  EXPECT_OK(Replan(plan, groups, MakeDemoHost()));
  groups.set_shard_group_size(3);
  EXPECT_THAT(FieldsOf(Replan(plan, groups, MakeDemoHost()).status()),
              ElementsAre("workers.shard_group_size"));
  // The job came to be with more slots than there are now.
  HostFacts smaller = MakeDemoHost();
  smaller.slots = 1;
  EXPECT_THAT(FieldsOf(Replan(plan, {}, smaller).status()), ElementsAre("workers.count"));
  v1::JobSpec named = MakeDemoSpec();
  named.mutable_gradient()->set_mode("ghost_fsdp");
  EXPECT_THAT(FieldsOf(Replan(MakePlan(named), Workers(0, v1::NO_SHARD), MakeDemoHost()).status()),
              ElementsAre("workers.strategy"));
}

TEST(ReplanTest, RefusesWhatDoesNotFitTheMemoryAtTheJobsMicroBatches) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_workers()->set_count(4);
  const v1::JobPlan plan = MakePlan(spec);
  HostFacts host = MakeDemoHost();
  host.memory_bytes = plan.memory().total_bytes();
  const absl::Status status = Replan(plan, Workers(4, v1::NO_SHARD), host).status();
  EXPECT_THAT(FieldsOf(status), ElementsAre("workers"));
  EXPECT_THAT(status.message(), AllOf(HasSubstr("micro-batches of 16 examples need"),
                                      HasSubstr("bytes, and the limit is")));
}

TEST(ReplanTest, AutoKeepsItsModesWhileTheyFit) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_gradient()->set_mode("auto");
  const v1::JobPlan plan = MakePlan(spec);
  HostFacts host = MakeDemoHost();
  const v1::WorkersSpec whole = Workers(2, v1::NO_SHARD);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan kept, Replan(plan, whole, host));
  EXPECT_FALSE(HasOtherModes(plan, kept));
  EXPECT_THAT(kept.notes(), Each(Not(HasSubstr("auto picked before"))));

  host.memory_bytes = 2 * (kept.memory().total_bytes() - 1);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan squeezed, Replan(plan, whole, host));
  EXPECT_TRUE(HasOtherModes(plan, squeezed));
  EXPECT_LE(squeezed.memory().total_bytes(), host.memory_bytes / 2);
  EXPECT_EQ(squeezed.train().micro_batch_size(), plan.train().micro_batch_size());
  EXPECT_THAT(squeezed.notes(), Contains(HasSubstr("auto picked before did not fit")));
}

TEST(SameResultTest, NamesEveryFieldThatWouldChange) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  EXPECT_OK(CheckSameResult(plan, plan));
  struct Case {
    std::string field;
    std::function<void(v1::JobPlan&)> change;
  };
  for (const Case& c : std::vector<Case>{
           {"privacy.noise_multiplier",
            [](v1::JobPlan& p) { p.mutable_privacy()->set_noise_multiplier(0.5); }},
           {"privacy.segments[0].charged_steps",
            [](v1::JobPlan& p) { p.mutable_privacy()->mutable_segments(0)->set_charged_steps(1); }},
           {"privacy.batch_cap", [](v1::JobPlan& p) { p.mutable_privacy()->set_batch_cap(1); }},
           {"train.micro_batch_size",
            [](v1::JobPlan& p) { p.mutable_train()->set_micro_batch_size(1); }},
           {"train.steps", [](v1::JobPlan& p) { p.mutable_train()->set_steps(1); }},
           {"spec.privacy.seed",
            [](v1::JobPlan& p) { p.mutable_spec()->mutable_privacy()->set_seed(7); }},
           {"spec.model.init_seed",
            [](v1::JobPlan& p) { p.mutable_spec()->mutable_model()->set_init_seed(7); }},
           {"dataset.sha256", [](v1::JobPlan& p) { p.mutable_dataset()->set_sha256("00"); }},
           {"sharding.mode.norm", [](v1::JobPlan& p) {
              p.mutable_sharding()->mutable_mode()->set_norm(v1::UnitMode::NONE);
            }}}) {
    v1::JobPlan changed = plan;
    c.change(changed);
    EXPECT_THAT(CheckSameResult(plan, changed),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(": " + c.field)))
        << c.field;
  }
}

}  // namespace
}  // namespace sotto::planning
