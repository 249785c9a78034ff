#include "tests/equivalence/memory_bounds.h"

#include <iostream>

#include "common/layout/flat_layout.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "gtest/gtest.h"

namespace sotto::equivalence {
namespace {

constexpr double kMebibyte = 1 << 20;

void Print(const std::string& name, int64_t measured, const layout::MemoryEstimate& estimate) {
  std::cout << name << ": tensors " << measured / kMebibyte << " MiB, planned "
            << estimate.tensor_bytes() / kMebibyte << " (ratio "
            << static_cast<double>(estimate.tensor_bytes()) / static_cast<double>(measured)
            << "); shards "
            << (estimate.parameters_bytes + estimate.gradient_bytes + estimate.optimizer_bytes) /
                   kMebibyte
            << " slots " << estimate.slots_bytes / kMebibyte << " activations "
            << estimate.activations_bytes / kMebibyte << " held "
            << estimate.held_gradients_bytes / kMebibyte << " workspace "
            << estimate.workspace_bytes / kMebibyte << std::endl;
}

}  // namespace

layout::MemoryEstimate EstimateOf(const v1::JobPlan& plan) {
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  const layout::WrappedModel wrapped = *spec::WrapModel(model, plan.spec().workers().wrapping());
  const layout::ScheduleChoice choice = *spec::ScheduleChoiceOf(plan, model, wrapped);
  const int shards = plan.sharding().shard_group_size();
  const layout::FlatLayout blocks = *layout::FlatLayout::Create(model, shards);
  const layout::FlatLayout units = *layout::FlatLayout::Create(wrapped.units, shards);
  return layout::EstimateMemory(
      model, blocks,
      {.gathered_slots = choice.gathered_slots,
       .gradient_slots = choice.gradient_slots,
       .mode = choice.mode,
       .micro_batch_size = plan.train().micro_batch_size(),
       .longest_length = plan.train().lengths(plan.train().lengths_size() - 1),
       .optimizer_states = plan.spec().train().optimizer().has_sgd() ? 0 : 2,
       .strategy = choice.strategy,
       .layer_modes = choice.layer_modes,
       .world_size = plan.sharding().world_size(),
       .threads_per_rank = plan.sharding().threads_per_rank(),
       .units = &units,
       .kept_gathered = choice.kept_gathered,
       .block_units = wrapped.blocks.units,
       .checkpointed_blocks = choice.checkpointed_blocks});
}

void ExpectPlanned(const std::string& name, int64_t measured,
                   const layout::MemoryEstimate& estimate) {
  Print(name, measured, estimate);
  EXPECT_LE(measured, estimate.tensor_bytes());
  EXPECT_LE(static_cast<double>(estimate.tensor_bytes()), 1.05 * static_cast<double>(measured));
}

}  // namespace sotto::equivalence
