#include "common/layout/memory.h"

#include <algorithm>
#include <variant>

namespace sotto::layout {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kMaxRegionElements = int64_t{1} << 20;
constexpr int64_t kCommunicatorHeaderBytes = 64 * 1024;

// fp32 values per token that a block keeps from forward to backward, in multiples of the width: the
// input (1), the first norm's output (1), q, k and v (3), attention's output (1), the sum after
// attention (1), the second norm's output (1), the MLP's hidden layer before and after GELU (8).
// Besides: the norms' statistics (4) and attention's logsumexp (one per head).
constexpr int64_t kBlockActivationWidths = 16;
constexpr int64_t kBlockStatistics = 4;

// Live at once inside one block's backward, in multiples of the width: gradients of the hidden
// layer before and after GELU (8), of q, k and v apart and joined (6), of the residual stream and
// its branches (4), and what ATen's kernels copy and the allocator has not given back (14,
// measured: tests/equivalence/memory_test).
constexpr int64_t kBlockBackwardWidths = 32;

// Logits and their gradient.
constexpr int64_t kLogitsCopies = 2;

// Pages of libtorch, its dependencies and the allocator that are resident before the first tensor
// (measured: tests/equivalence/memory_test).
constexpr int64_t kRuntimeBytes = int64_t{136} << 20;

// Of everything but the baseline: what the allocator loses to fragmentation (measured).
constexpr double kFragmentation = 0.03;

int64_t ActivationElements(const Gpt2Dimensions& model, int64_t tokens) {
  const int64_t block = kBlockActivationWidths * model.width + kBlockStatistics + model.heads;
  return tokens * (model.layers * block + 2 * model.width + 2);
}

// The head's and a block's temporaries are never alive together. A tied head keeps T values per
// token for the norm's cross term.
int64_t WorkspaceElements(const Gpt2Dimensions& model, const MemoryOptions& options) {
  const int64_t tokens = options.micro_batch_size * options.longest_length;
  const int64_t block = kBlockBackwardWidths * model.width;
  const int64_t head = kLogitsCopies * model.vocabulary_size + 2 * model.width;
  const bool cross_term = model.tied_head && options.mode.norm != Norm::kNone;
  return tokens * (std::max(block, head) + (cross_term ? options.longest_length : 0));
}

}  // namespace

int64_t CommunicatorRegionElements(const FlatLayout& layout) {
  int64_t largest = 0;
  for (const UnitLayout& unit : layout.units()) largest = std::max(largest, unit.padded_elements);
  const int64_t step = kAlignmentElements * layout.world_size();
  return std::min(largest, kMaxRegionElements / step * step);
}

int64_t CommunicatorBytes(const FlatLayout& layout) {
  return kCommunicatorHeaderBytes +
         2 * layout.world_size() * CommunicatorRegionElements(layout) * kFloat;
}

MemoryEstimate EstimateMemory(const ModelDescription& model, const FlatLayout& layout,
                              const MemoryOptions& options) {
  const Gpt2Dimensions& gpt2 = std::get<Gpt2Dimensions>(model.family);
  const int64_t blocks = layout.num_units() - 1;
  const int64_t gathered = std::min<int64_t>(options.gathered_slots, blocks);
  const int64_t gradients = std::min<int64_t>(options.gradient_slots, blocks);
  const int64_t tokens = options.micro_batch_size * options.longest_length;
  const int64_t shard_bytes = layout.total_shard_elements() * kFloat;
  const int64_t root_bytes = layout.unit(0).padded_elements * kFloat;
  const int64_t block_bytes = layout.max_block_padded_elements() * kFloat;
  int64_t unit_elements = 0;
  for (const UnitLayout& unit : layout.units()) unit_elements += unit.aligned_elements;

  MemoryEstimate estimate{
      .parameters_bytes = shard_bytes,
      .gradient_bytes = shard_bytes,
      .optimizer_bytes = options.optimizer_states * shard_bytes,
      .slots_bytes = 2 * root_bytes + (gathered + gradients) * block_bytes,
      .activations_bytes = ActivationElements(gpt2, tokens) * kFloat,
      .workspace_bytes = WorkspaceElements(gpt2, options) * kFloat,
      .communicator_bytes = layout.world_size() > 1 ? CommunicatorBytes(layout) : 0,
      .baseline_bytes = kRuntimeBytes + kControlBytes};
  if (options.mode.kept == Kept::kExampleGrads) {
    estimate.held_gradients_bytes = options.micro_batch_size * unit_elements * kFloat;
  }
  const int64_t tensors = estimate.total_bytes() - estimate.baseline_bytes;
  estimate.workspace_bytes += static_cast<int64_t>(kFragmentation * static_cast<double>(tensors));
  return estimate;
}

}  // namespace sotto::layout
