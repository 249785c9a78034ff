#include "common/layout/memory.h"

#include <algorithm>

#include "common/layout/slot_layout.h"
#include "common/layout/step_memory.h"

namespace sotto::layout {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kMaxRegionElements = int64_t{1} << 20;
constexpr int64_t kCommunicatorHeaderBytes = 64 * 1024;

// Pages of libtorch and its dependencies that are resident before the first tensor (measured).
constexpr int64_t kRuntimeBytes = int64_t{269} << 19;

// What the process needs beside its tensors once it computes: holes between tensors in the heap,
// as a share of what a step allocates and frees, and for each thread its arena and the matrix
// library's packed operands. Measured generously: an upper bound of the resident set, on which no
// decision but a refusal rests (docs/decisions/0010). 0.25: adapters on a Llama of 150M needed
// 0.20.
constexpr double kHoles = 0.25;
constexpr int64_t kThreadBytes = int64_t{32} << 20;

int64_t SlotElements(const FlatLayout& units, const MemoryOptions& options) {
  const SlotChoice choice = {.strategy = options.strategy,
                             .gathered_slots = options.gathered_slots,
                             .gradient_slots = options.gradient_slots,
                             .kept_gathered = options.kept_gathered,
                             .block_units = options.block_units};
  return GatheredSlots(units, choice).total_elements() +
         GradientSlots(units, choice).total_elements();
}

// Block i is stage i + 1.
std::vector<bool> CheckpointedStages(const ModelDescription& model, const MemoryOptions& options) {
  if (options.checkpointed_blocks.empty()) return {};
  std::vector<bool> stages(model.stages.size(), false);
  for (int block : options.checkpointed_blocks) stages[block + 1] = true;
  return stages;
}

int WorldSize(const FlatLayout& layout, int world_size) {
  return world_size > 0 ? world_size : layout.world_size();
}

}  // namespace

int64_t CommunicatorRegionElements(const FlatLayout& layout, int world_size) {
  const int64_t step = kAlignmentElements * WorldSize(layout, world_size);
  int64_t largest = step;
  for (const UnitLayout& unit : layout.units()) {
    largest = std::max({largest, unit.padded_elements, unit.frozen.padded_elements});
  }
  return std::min((largest + step - 1) / step * step, kMaxRegionElements / step * step);
}

int64_t CommunicatorBytes(const FlatLayout& layout, int world_size) {
  return kCommunicatorHeaderBytes + 2 * WorldSize(layout, world_size) *
                                        CommunicatorRegionElements(layout, world_size) * kFloat;
}

namespace {

// What ranks touch of the communicator's memory. An all-reduce alone (NO_SHARD) fills a rank's
// second region only with the slice that the rank sums.
int64_t TouchedCommunicatorBytes(const FlatLayout& layout, const MemoryOptions& options) {
  const int world_size = WorldSize(layout, options.world_size);
  if (world_size == 1) return 0;
  const int64_t all = CommunicatorBytes(layout, options.world_size);
  if (options.strategy != Strategy::kNoShard) return all;
  return all - (world_size - 1) * CommunicatorRegionElements(layout, options.world_size) * kFloat;
}

}  // namespace

int64_t FragmentationBytes(int threads, int64_t step_bytes) {
  return threads * kThreadBytes + static_cast<int64_t>(kHoles * static_cast<double>(step_bytes));
}

MemoryEstimate EstimateMemory(const ModelDescription& model, const FlatLayout& block_layout,
                              const MemoryOptions& options) {
  const FlatLayout& layout = options.units != nullptr ? *options.units : block_layout;
  const MemoryMeter::ByUse step =
      PeakOfStep(model, {.mode = options.mode,
                         .layer_modes = options.layer_modes,
                         .examples = options.micro_batch_size,
                         .tokens = options.longest_length,
                         .threads = options.threads_per_rank,
                         .checkpointed_stages = CheckpointedStages(model, options)});
  const auto bytes_of = [&step](TensorUse use) {
    return static_cast<int64_t>(step[static_cast<size_t>(use)]) * kFloat;
  };
  const int64_t trained = layout.total_shard_elements();
  MemoryEstimate estimate{
      .parameters_bytes = (trained + layout.total_frozen_shard_elements()) * kFloat,
      .gradient_bytes = trained * kFloat,
      .optimizer_bytes = options.optimizer_states * trained * kFloat,
      .slots_bytes = SlotElements(layout, options) * kFloat,
      .activations_bytes = bytes_of(TensorUse::kActivations),
      .held_gradients_bytes = bytes_of(TensorUse::kHeld),
      .workspace_bytes = bytes_of(TensorUse::kWorkspace),
      .communicator_bytes = TouchedCommunicatorBytes(layout, options),
      .baseline_bytes = kRuntimeBytes + kControlBytes};
  estimate.fragmentation_bytes = FragmentationBytes(
      options.threads_per_rank,
      estimate.activations_bytes + estimate.held_gradients_bytes + estimate.workspace_bytes);
  return estimate;
}

}  // namespace sotto::layout
