// What plans say of strategies, modes and layers.
#include <map>
#include <string>

#include "common/base/status_matchers.h"
#include "common/layout/device_profile.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

v1::JobPlan MakePlan(const v1::JobSpec& spec, const HostFacts& host = MakeDemoHost()) {
  absl::StatusOr<v1::JobPlan> plan = Plan(spec, MakeDemoDataset(), host);
  EXPECT_OK(plan);
  return plan.ok() ? *std::move(plan) : v1::JobPlan();
}

v1::JobSpec SpecOf(const std::string& mode, v1::Strategy strategy = v1::FULL_SHARD) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_gradient()->set_mode(mode);
  spec.mutable_workers()->set_strategy(strategy);
  return spec;
}

TEST(ShardingPlanTest, StrategiesThatReduceOncePayPerStepNotPerMicroBatch) {
  for (v1::Strategy strategy : {v1::SHARD_GRAD_OP, v1::NO_SHARD}) {
    const v1::ShardingPlan plan = MakePlan(SpecOf("flash_bk", strategy)).sharding();
    EXPECT_EQ(plan.strategy(), strategy);
    EXPECT_EQ(plan.gathers_per_micro_batch(), 0);
    EXPECT_EQ(plan.reduces_per_micro_batch(), 0);
    EXPECT_EQ(plan.reduces_per_step(), 5);
    EXPECT_EQ(plan.gathers_per_step(), strategy == v1::NO_SHARD ? 0 : 5);
    EXPECT_EQ(plan.replicas(), strategy == v1::NO_SHARD ? 2 : 1);
    EXPECT_GT(plan.bytes_per_step(), 0);
  }
}

TEST(ShardingPlanTest, HybridShardsHaveGroups) {
  v1::JobSpec spec = SpecOf("flash", v1::HYBRID_SHARD);
  spec.mutable_workers()->set_count(4);
  const v1::ShardingPlan plan = MakePlan(spec).sharding();
  EXPECT_EQ(plan.shard_group_size(), 2);
  EXPECT_EQ(plan.replicas(), 2);
  EXPECT_EQ(plan.world_size(), 4);
}

TEST(ShardingPlanTest, AReplicaOfEverythingNeedsMoreMemoryThanAShard) {
  EXPECT_GT(MakePlan(SpecOf("flash", v1::NO_SHARD)).memory().optimizer_bytes(),
            MakePlan(SpecOf("flash", v1::FULL_SHARD)).memory().optimizer_bytes());
}

TEST(ModePlanTest, DeferredNormsAreInEveryLayersMode) {
  v1::JobSpec spec = SpecOf("flash_bk");
  spec.mutable_gradient()->set_deferred_norms(true);
  const v1::ShardingPlan plan = MakePlan(spec).sharding();
  EXPECT_EQ(plan.mode().when(), v1::UnitMode::AFTER_BACKWARD);
  for (const v1::LayerPlan& layer : plan.layers()) {
    EXPECT_EQ(layer.mode().when(), v1::UnitMode::AFTER_BACKWARD) << layer.name();
  }
}

TEST(ModePlanTest, AutoGivesEveryLayerAModeAndRestsOnTheDevice) {
  const v1::JobPlan typical = MakePlan(SpecOf("auto"));
  EXPECT_EQ(typical.sharding().mode_name(), "auto");
  ASSERT_GT(typical.sharding().layers_size(), 20);
  for (const v1::LayerPlan& layer : typical.sharding().layers()) {
    EXPECT_NE(layer.mode().norm(), v1::UnitMode::NORM_UNSPECIFIED) << layer.name();
    EXPECT_NE(layer.mode().norm(), v1::UnitMode::NONE) << layer.name();
  }
  EXPECT_GT(typical.train().estimated_seconds(), 0);
  EXPECT_THAT(typical.notes(), Contains(HasSubstr("No worker has measured 4 threads")));

  HostFacts host = MakeDemoHost();
  host.device_profiles.push_back(layout::TypicalDeviceProfile());
  host.device_profiles[0].threads = 4;
  host.device_profiles[0].hold_bytes = 1e3;  // holding gradients would take for ever
  const v1::JobPlan slow = MakePlan(SpecOf("auto"), host);
  EXPECT_THAT(slow.notes(), Each(Not(HasSubstr("No worker has measured"))));
  for (const v1::LayerPlan& layer : slow.sharding().layers()) {
    if (layer.kind() == "linear") {
      EXPECT_NE(layer.mode().kept(), v1::UnitMode::EXAMPLE_GRADS) << layer.name();
    }
  }
  EXPECT_OK(ScheduleText(slow));
}

TEST(ModePlanTest, MeasuringTheDeviceIsPartOfTheMemoryPlanUntilItIsDone) {
  const auto tensor_bytes = [](const v1::MemoryPlan& memory) {
    return memory.total_bytes() - memory.baseline_bytes() - memory.communicator_bytes() -
           memory.fragmentation_bytes();
  };
  HostFacts host = MakeDemoHost();
  v1::JobSpec small = SpecOf("flash");
  small.mutable_model()->mutable_gpt2()->set_layers(1);
  small.mutable_train()->set_micro_batch_size(1);
  const v1::MemoryPlan training = MakePlan(small, host).memory();
  host.ranks_measure_device = true;
  const v1::MemoryPlan first = MakePlan(small, host).memory();
  EXPECT_EQ(tensor_bytes(first), tensor_bytes(training));
  EXPECT_EQ(first.total_bytes() - training.total_bytes(),
            layout::ProfilingBytes(4) - tensor_bytes(training));
  EXPECT_GT(first.total_bytes(), training.total_bytes()) << "the training alone needs more";

  host.device_profiles.push_back(layout::TypicalDeviceProfile());
  host.device_profiles[0].threads = 4;
  EXPECT_EQ(MakePlan(small, host).memory().total_bytes(), training.total_bytes());
}

TEST(ModePlanTest, AutoStaysWithinTheMemoryLimit) {
  v1::JobSpec spec = SpecOf("auto");
  const int64_t free = MakePlan(spec).memory().total_bytes();
  const int64_t fixed =
      MakePlan(spec).memory().baseline_bytes() + MakePlan(spec).memory().fragmentation_bytes();
  spec.mutable_gradient()->set_memory_limit_bytes(fixed + (free - fixed) / 3);
  EXPECT_LE(MakePlan(spec).memory().total_bytes(), spec.gradient().memory_limit_bytes());
}

TEST(ModePlanTest, LayersSayWhatAReaderWouldNotExpect) {
  v1::JobSpec spec = SpecOf("flash_bk");
  spec.mutable_model()->mutable_adaptation()->add_frozen("*ln_f*");
  const v1::JobPlan plan = MakePlan(spec);
  std::map<std::string, std::string> notes;
  for (const v1::LayerPlan& layer : plan.sharding().layers()) notes[layer.name()] = layer.note();
  EXPECT_EQ(notes["ln_f"], "frozen");
  EXPECT_THAT(notes["wte"], HasSubstr("[B, T, V] is never held"));
  EXPECT_EQ(notes["h.0.attn.c_attn"], "");
  EXPECT_EQ(plan.sharding().units(0).elements() - plan.sharding().units(0).trained_elements(),
            2 * 96);
}

}  // namespace
}  // namespace sotto::planning
