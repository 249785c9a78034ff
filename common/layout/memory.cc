#include "common/layout/memory.h"

#include <algorithm>

namespace sotto::layout {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kMaxRegionElements = int64_t{1} << 20;
constexpr int64_t kCommunicatorHeaderBytes = 64 * 1024;

// Pages of libtorch, its dependencies and the allocator that are resident before the first tensor
// (measured: tests/equivalence/memory_test).
constexpr int64_t kRuntimeBytes = int64_t{136} << 20;

// Of everything but the baseline: what the allocator loses to fragmentation (measured).
constexpr double kFragmentation = 0.03;

// fp32 values of a micro-batch of the longest length.
class MicroBatchElements {
 public:
  MicroBatchElements(const ModelDescription& model, const FlatLayout& layout,
                     const MemoryOptions& options)
      : model_(model),
        layout_(layout),
        options_(options),
        examples_(static_cast<double>(options.micro_batch_size)),
        tokens_(static_cast<double>(options.longest_length)) {}

  int64_t Activations() const {
    double sum = 0;
    for (const StageFootprint& stage : model_.footprints) {
      sum += Of(stage.kept_per_example, stage.kept_per_token, stage.kept_per_token_sq);
    }
    return static_cast<int64_t>(sum);
  }

  // Temporaries of two stages are never alive together.
  int64_t Workspace() const {
    double largest = 0;
    double norms = 0;
    for (const StageFootprint& stage : model_.footprints) {
      largest = std::max(largest, Of(stage.workspace_per_example, stage.workspace_per_token,
                                     stage.workspace_per_token_sq));
      norms += Of(0, 0, stage.norms_per_token_sq);
    }
    if (options_.mode.norm == Norm::kNone) norms = 0;
    return static_cast<int64_t>(largest + norms);
  }

  // What is held from the backward pass to the weight gradients, or to deferred norms.
  int64_t Held() const {
    double sum = 0;
    for (int unit = 0; unit < layout_.num_units(); ++unit) sum += HeldOfUnit(unit);
    return static_cast<int64_t>(sum);
  }

 private:
  double Of(double per_example, double per_token, double per_token_sq) const {
    return examples_ * (per_example + tokens_ * (per_token + tokens_ * per_token_sq));
  }

  double HeldOfUnit(int unit) const {
    const UnitDescription& description = model_.units[unit];
    if (description.layers.empty()) {
      return options_.mode.kept == Kept::kExampleGrads
                 ? examples_ * static_cast<double>(layout_.unit(unit).aligned_elements)
                 : 0;
    }
    double sum = 0;
    for (size_t i = 0; i < description.layers.size(); ++i) {
      const UnitMode& mode =
          options_.layer_modes.empty() ? options_.mode : options_.layer_modes[unit][i];
      sum += HeldOfLayer(unit, description.layers[i], mode);
    }
    return sum;
  }

  double HeldOfLayer(int unit, const LayerDescription& layer, const UnitMode& mode) const {
    double parameters = 0;
    for (int parameter : layer.parameters) {
      const ParameterLayout& place = layout_.unit(unit).parameters[parameter];
      if (place.trainable) parameters += static_cast<double>(place.elements);
    }
    const bool deferred = mode.when == When::kAfterBackward;
    if (parameters == 0 || mode.kept == Kept::kNothing) return 0;
    if (mode.kept == Kept::kActivations && !deferred) return 0;
    const bool looked_up =
        layer.kind == LayerKind::kEmbedding || layer.kind == LayerKind::kPositions;
    if (mode.kept == Kept::kExampleGrads && !looked_up) return examples_ * parameters;
    // Positions are added to the tokens' embedding: one gradient for both.
    if (layer.kind == LayerKind::kPositions) return 0;
    // A head's output gradients are formed again from its input.
    if (IsHead(layer)) return 0;
    const double rows = layer.Rows(options_.longest_length);
    return examples_ * rows * static_cast<double>(layer.outputs);
  }

  // Whose outputs are logits over the vocabulary.
  bool IsHead(const LayerDescription& layer) const {
    return layer.in_last_stage && layer.kind == LayerKind::kLinear &&
           layer.outputs == model_.vocabulary_size;
  }

  const ModelDescription& model_;
  const FlatLayout& layout_;
  const MemoryOptions& options_;
  const double examples_;
  const double tokens_;
};

int64_t SlotElements(const FlatLayout& layout, const MemoryOptions& options) {
  if (options.strategy == Strategy::kNoShard) return 0;  // Shards are whole.
  if (options.strategy == Strategy::kShardGradOp) {
    int64_t sum = 0;
    for (const UnitLayout& unit : layout.units()) {
      sum += unit.whole_elements() + unit.padded_elements;
    }
    return sum;
  }
  const int64_t blocks = layout.num_units() - 1;
  return layout.unit(0).whole_elements() + layout.unit(0).padded_elements +
         std::min<int64_t>(options.gathered_slots, blocks) * layout.max_block_whole_elements() +
         std::min<int64_t>(options.gradient_slots, blocks) * layout.max_block_padded_elements();
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

MemoryEstimate EstimateMemory(const ModelDescription& model, const FlatLayout& layout,
                              const MemoryOptions& options) {
  const MicroBatchElements micro_batch(model, layout, options);
  const int64_t trained = layout.total_shard_elements();
  MemoryEstimate estimate{
      .parameters_bytes = (trained + layout.total_frozen_shard_elements()) * kFloat,
      .gradient_bytes = trained * kFloat,
      .optimizer_bytes = options.optimizer_states * trained * kFloat,
      .slots_bytes = SlotElements(layout, options) * kFloat,
      .activations_bytes = micro_batch.Activations() * kFloat,
      .held_gradients_bytes = micro_batch.Held() * kFloat,
      .workspace_bytes = micro_batch.Workspace() * kFloat,
      .communicator_bytes = WorldSize(layout, options.world_size) > 1
                                ? CommunicatorBytes(layout, options.world_size)
                                : 0,
      .baseline_bytes = kRuntimeBytes + kControlBytes};
  const int64_t tensors = estimate.total_bytes() - estimate.baseline_bytes;
  estimate.workspace_bytes += static_cast<int64_t>(kFragmentation * static_cast<double>(tensors));
  return estimate;
}

}  // namespace sotto::layout
