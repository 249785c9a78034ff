// What specs may say of units, slots and recomputation, and what plans make of it.
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

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct BrokenRule {
  std::string name;
  std::function<void(v1::JobSpec&)> change;
  std::string field;
  std::string rule;
};

v1::ReshardSpec& Reshard(v1::JobSpec& spec) {
  return *spec.mutable_workers()->mutable_reshard_after_forward();
}

v1::WrappingSpec& Wrapping(v1::JobSpec& spec) {
  return *spec.mutable_workers()->mutable_wrapping();
}

v1::ActivationCheckpointingSpec& Recompute(v1::JobSpec& spec) {
  return *spec.mutable_train()->mutable_activation_checkpointing();
}

std::vector<BrokenRule> BrokenRules() {
  return {
      {"KeepUnderShardGradOp",
       [](v1::JobSpec& spec) {
         spec.mutable_workers()->set_strategy(v1::SHARD_GRAD_OP);
         Reshard(spec).set_none(true);
       },
       "workers.reshard_after_forward", "only FULL_SHARD and HYBRID_SHARD"},
      {"KeepAllAndSome",
       [](v1::JobSpec& spec) {
         Reshard(spec).set_none(true);
         Reshard(spec).add_keep_gathered("h.*");
       },
       "workers.reshard_after_forward.keep_gathered", "none keeps every unit"},
      {"KeepNothingThatIs", [](v1::JobSpec& spec) { Reshard(spec).add_keep_gathered("h.9"); },
       "workers.reshard_after_forward.keep_gathered", "must match the name of a unit"},
      {"PrefetchBeyondTheSlots",
       [](v1::JobSpec& spec) { spec.mutable_workers()->set_prefetch_depth(2); },
       "workers.prefetch_depth", "below the 2 gathered_slots"},
      {"PrefetchOfNothing",
       [](v1::JobSpec& spec) {
         spec.mutable_workers()->set_strategy(v1::NO_SHARD);
         spec.mutable_workers()->set_prefetch_depth(1);
       },
       "workers.prefetch_depth", "NO_SHARD gathers nothing"},
      {"UnitsOfNoSize", [](v1::JobSpec& spec) { Wrapping(spec).mutable_by_size(); },
       "workers.wrapping.by_size.minimum_parameters", "at least 1"},
      {"UnitsOfNoKind",
       [](v1::JobSpec& spec) { Wrapping(spec).mutable_by_layer()->add_kinds("linears"); },
       "workers.wrapping.by_layer.kinds", "kinds of layers"},
      {"ThresholdsOfMergedBlocks",
       [](v1::JobSpec& spec) {
         Wrapping(spec).mutable_by_size()->set_minimum_parameters(1000);
         spec.mutable_privacy()->mutable_clipping()->mutable_per_unit();
       },
       "privacy.clipping.per_unit", "by_block"},
      {"RecomputeEveryNegative", [](v1::JobSpec& spec) { Recompute(spec).set_every_blocks(-1); },
       "train.activation_checkpointing.every_blocks", "must be 1 to 1024"},
      {"RecomputeEverySecondAndSome",
       [](v1::JobSpec& spec) {
         Recompute(spec).set_every_blocks(2);
         Recompute(spec).add_units("h.1");
       },
       "train.activation_checkpointing.every_blocks", "units says which"},
      {"RecomputeNothingThatIs",
       [](v1::JobSpec& spec) {
         Recompute(spec).add_units("h.1");
         Recompute(spec).add_units("h.1.*");
       },
       "train.activation_checkpointing.units", "must match the name of a unit"},
      {"RecomputeTheRoot", [](v1::JobSpec& spec) { Recompute(spec).add_units("root"); },
       "train.activation_checkpointing.units", "must match the name of a unit"},
      {"ClearCachesNever",
       [](v1::JobSpec& spec) { spec.mutable_workers()->set_clear_caches_every_steps(-1); },
       "workers.clear_caches_every_steps", "must be 1 to 2^32"},
      {"RecomputeWithBookKeeping",
       [](v1::JobSpec& spec) {
         spec.mutable_gradient()->set_mode("flash_bk");
         spec.mutable_train()->mutable_activation_checkpointing();
       },
       "train.activation_checkpointing", "book-keeping"},
      {"RecomputeWithDeferredNorms",
       [](v1::JobSpec& spec) {
         spec.mutable_gradient()->set_mode("flash");
         spec.mutable_gradient()->set_deferred_norms(true);
         spec.mutable_train()->mutable_activation_checkpointing();
       },
       "train.activation_checkpointing", "deferred_norms"},
  };
}

TEST(ShardingRulesTest, ABrokenRuleIsTheOnlyViolation) {
  for (const BrokenRule& broken : BrokenRules()) {
    SCOPED_TRACE(broken.name);
    v1::JobSpec spec = MakeDemoSpec();
    broken.change(spec);
    const absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDemoDataset(), MakeDemoHost());
    ASSERT_THAT(plan, StatusIs(absl::StatusCode::kInvalidArgument));
    const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
    ASSERT_EQ(violations.size(), 1u) << plan.status();
    EXPECT_EQ(violations[0].field, broken.field);
    EXPECT_THAT(violations[0].rule, HasSubstr(broken.rule));
  }
}

v1::JobPlan MakePlan(const v1::JobSpec& spec) {
  absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDemoDataset(), MakeDemoHost());
  EXPECT_OK(plan);
  EXPECT_OK(ScheduleText(*plan));
  return plan.ok() ? *std::move(plan) : v1::JobPlan();
}

std::vector<std::string> UnitNames(const v1::JobPlan& plan) {
  std::vector<std::string> names;
  for (const v1::UnitPlan& unit : plan.sharding().units()) names.push_back(unit.name());
  return names;
}

// The demo has four blocks and two slots.
TEST(ShardingRulesTest, DefaultsSayWhatIsUsual) {
  const v1::JobPlan plan = MakePlan(MakeDemoSpec());
  EXPECT_EQ(plan.sharding().prefetch_depth(), 1);
  EXPECT_TRUE(plan.spec().workers().wrapping().has_by_block());
  EXPECT_THAT(plan.sharding().kept_gathered(), IsEmpty());
  EXPECT_THAT(plan.train().checkpointed_blocks(), IsEmpty());
  EXPECT_THAT(UnitNames(plan), ElementsAre("root", "h.0", "h.1", "h.2", "h.3"));
}

TEST(ShardingRulesTest, KeptUnitsSaveGathersAndCostSlots) {
  v1::JobSpec spec = MakeDemoSpec();
  const v1::JobPlan plain = MakePlan(spec);
  Reshard(spec).add_keep_gathered("h.*");
  const v1::JobPlan kept = MakePlan(spec);
  EXPECT_THAT(kept.sharding().kept_gathered(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(kept.sharding().gathers_per_micro_batch(), 0);
  EXPECT_EQ(kept.sharding().gathers_per_step(), 5);
  EXPECT_GT(plain.sharding().gathers_per_micro_batch(), 0);
  EXPECT_NE(kept.sharding().schedule_hash(), plain.sharding().schedule_hash());
  v1::JobSpec none = MakeDemoSpec();
  Reshard(none).set_none(true);
  EXPECT_EQ(MakePlan(none).sharding().schedule_hash(), kept.sharding().schedule_hash());
}

TEST(ShardingRulesTest, UnitsMayBeSeveralBlocksOrLayers) {
  v1::JobSpec spec = MakeDemoSpec();
  const int64_t block = MakePlan(spec).sharding().units(1).elements();
  Wrapping(spec).mutable_by_size()->set_minimum_parameters(block + 1);
  const v1::JobPlan merged = MakePlan(spec);
  EXPECT_THAT(UnitNames(merged), ElementsAre("root", "h.0-h.1", "h.2-h.3"));
  EXPECT_EQ(merged.sharding().layers(merged.sharding().layers_size() - 1).unit(), 2);
  Wrapping(spec).mutable_by_layer();
  Reshard(spec).add_keep_gathered("h.1.attn.c_proj");
  const v1::JobPlan split = MakePlan(spec);
  EXPECT_THAT(split.spec().workers().wrapping().by_layer().kinds(), ElementsAre("linear"));
  EXPECT_EQ(split.sharding().units_size(), 1 + 4 * 4);
  EXPECT_THAT(split.sharding().kept_gathered(), ElementsAre(5, 6, 7, 8)) << "the whole block";
}

TEST(ShardingRulesTest, ChecksOfOperationsReachTheWorkers) {
  v1::JobSpec spec = MakeDemoSpec();
  EXPECT_FALSE(MakePlan(spec).sharding().check_operations());
  spec.mutable_workers()->set_check_operations(true);
  EXPECT_TRUE(MakePlan(spec).sharding().check_operations());
}

TEST(ShardingRulesTest, RecomputationIsPlannedByBlocks) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_gradient()->set_mode("auto");
  Recompute(spec).set_every_blocks(2);
  const v1::JobPlan plan = MakePlan(spec);
  EXPECT_THAT(plan.train().checkpointed_blocks(), ElementsAre(0, 2));
  for (const v1::LayerPlan& layer : plan.sharding().layers()) {
    if (layer.unit() != 1 && layer.unit() != 3) continue;
    EXPECT_NE(layer.mode().kept(), v1::UnitMode::OUTPUT_GRADS) << layer.name();
  }
}

TEST(ShardingRulesTest, RecomputationIsPlannedByNamesOfUnits) {
  v1::JobSpec spec = MakeDemoSpec();
  const v1::JobPlan plain = MakePlan(spec);
  Recompute(spec).add_units("h.3");
  Recompute(spec).add_units("*.1");
  const v1::JobPlan named = MakePlan(spec);
  EXPECT_THAT(named.train().checkpointed_blocks(), ElementsAre(1, 3));
  EXPECT_NE(named.sharding().schedule_hash(), plain.sharding().schedule_hash());
  EXPECT_LT(named.memory().activations_bytes(), plain.memory().activations_bytes());
  v1::JobSpec all = MakeDemoSpec();
  Recompute(all).add_units("*");
  v1::JobSpec every = MakeDemoSpec();
  Recompute(every);
  EXPECT_EQ(MakePlan(all).sharding().schedule_hash(), MakePlan(every).sharding().schedule_hash());
}

TEST(ShardingRulesTest, EveryBlockOfANamedUnitIsRecomputed) {
  v1::JobSpec spec = MakeDemoSpec();
  const int64_t block = MakePlan(spec).sharding().units(1).elements();
  Wrapping(spec).mutable_by_size()->set_minimum_parameters(block + 1);
  Recompute(spec).add_units("h.2-h.3");
  EXPECT_THAT(MakePlan(spec).train().checkpointed_blocks(), ElementsAre(2, 3));
  Wrapping(spec).mutable_by_layer();
  Recompute(spec).set_units(0, "h.1.attn.c_proj");
  EXPECT_THAT(MakePlan(spec).train().checkpointed_blocks(), ElementsAre(1)) << "the whole block";
}

TEST(ShardingRulesTest, ClearedCachesChangeNothingElse) {
  v1::JobSpec spec = MakeDemoSpec();
  const v1::JobPlan plain = MakePlan(spec);
  spec.mutable_workers()->set_clear_caches_every_steps(5);
  v1::JobPlan cleared = MakePlan(spec);
  EXPECT_EQ(cleared.spec().workers().clear_caches_every_steps(), 5);
  cleared.mutable_spec()->mutable_workers()->clear_clear_caches_every_steps();
  EXPECT_EQ(cleared.SerializeAsString(), plain.SerializeAsString());
}

}  // namespace
}  // namespace sotto::planning
