#include "common/layout/memory.h"

#include <algorithm>

namespace sotto::layout {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kMaxRegionElements = int64_t{1} << 20;
constexpr int64_t kCommunicatorHeaderBytes = 64 * 1024;

// Pages of libtorch, its dependencies and the allocator that are resident before the first tensor
// (measured: tests/equivalence/memory_test).
constexpr int64_t kRuntimeBytes = int64_t{269} << 19;

// Of everything but the baseline: what the allocator loses to fragmentation (measured).
constexpr double kFragmentation = 0.04;

// T x T values per example that norms from inputs and output gradients need besides (measured at
// 510 tokens).
constexpr double kNormScratch = 1.5;

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

  // The most that temporaries and held values need together, while the backward pass goes from the
  // last stage to the first. A stage's temporaries end with it; output gradients that it holds stay
  // to the end of the pass. Slabs of examples' gradients are there from the second micro-batch on.
  int64_t HeldAndWorkspace() const {
    const bool scales_in_backward = options_.mode.kept == Kept::kActivations;
    double largest = 0;
    double held = Slabs();
    double norms = 0;
    double second_pass = 0;
    for (size_t stage = model_.footprints.size(); stage-- > 0;) {
      const StageFootprint& footprint = model_.footprints[stage];
      held += OutputGradsOfStage(stage);
      double workspace = Of(footprint.workspace_per_example, footprint.workspace_per_token,
                            footprint.workspace_per_token_sq);
      if (scales_in_backward) workspace += Of(0, footprint.weight_grad_per_token, 0);
      largest = std::max(largest, held + second_pass + workspace);
      norms += Of(0, 0, footprint.norms_per_token_sq);
      if (options_.mode.kept == Kept::kActivations) {
        second_pass += Of(0, footprint.second_pass_per_token, 0);
      }
    }
    if (options_.mode.norm == Norm::kNone) norms = 0;
    if (options_.mode.norm == Norm::kGram || options_.mode.norm == Norm::kTiled) {
      norms += Of(0, 0, kNormScratch);
    }
    return static_cast<int64_t>(std::max(largest, held) + norms + LargestGradient());
  }

  // What is held from the backward pass to the weight gradients, or to deferred norms.
  int64_t Held() const {
    double sum = Slabs();
    for (size_t stage = 0; stage < model_.stages.size(); ++stage) sum += OutputGradsOfStage(stage);
    return static_cast<int64_t>(sum);
  }

 private:
  double Of(double per_example, double per_token, double per_token_sq) const {
    return examples_ * (per_example + tokens_ * (per_token + tokens_ * per_token_sq));
  }

  // One gradient per example of every layer that holds them.
  double Slabs() const {
    double sum = 0;
    for (int unit = 0; unit < layout_.num_units(); ++unit) {
      const std::vector<LayerDescription>& layers = model_.units[unit].layers;
      if (layers.empty() && options_.mode.kept == Kept::kExampleGrads) {
        sum += static_cast<double>(layout_.unit(unit).aligned_elements);
      }
      for (size_t i = 0; i < layers.size(); ++i) {
        if (ModeOf(unit, i).kept != Kept::kExampleGrads || IsLookup(layers[i])) continue;
        sum += TrainableElements(unit, layers[i]);
      }
    }
    return examples_ * sum;
  }

  // What is beside the slabs while one is filled, and without clipping beside the gradient slots.
  double LargestGradient() const {
    double largest = 0;
    for (int unit = 0; unit < layout_.num_units(); ++unit) {
      const std::vector<LayerDescription>& layers = model_.units[unit].layers;
      for (size_t i = 0; i < layers.size(); ++i) {
        const Kept kept = ModeOf(unit, i).kept;
        if (kept != Kept::kExampleGrads && kept != Kept::kNothing) continue;
        if (IsLookup(layers[i])) continue;
        largest = std::max(largest, TrainableElements(unit, layers[i]));
      }
    }
    return largest;
  }

  // Of the layers whose backward ends in this stage.
  double OutputGradsOfStage(size_t stage) const {
    const int unit = model_.stages[stage];
    const bool is_last = stage + 1 == model_.stages.size();
    const std::vector<LayerDescription>& layers = model_.units[unit].layers;
    double sum = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (unit == 0 && layers[i].in_last_stage != is_last) continue;
      if (HoldsOutputGrads(unit, layers[i], ModeOf(unit, i))) {
        sum += layers[i].Rows(options_.longest_length) * static_cast<double>(layers[i].outputs);
      }
    }
    return examples_ * sum;
  }

  const UnitMode& ModeOf(size_t unit, size_t layer) const {
    return options_.layer_modes.empty() ? options_.mode : options_.layer_modes[unit][layer];
  }

  double TrainableElements(size_t unit, const LayerDescription& layer) const {
    double elements = 0;
    for (int parameter : layer.parameters) {
      const ParameterLayout& place = layout_.unit(static_cast<int>(unit)).parameters[parameter];
      if (place.trainable) elements += static_cast<double>(place.elements);
    }
    return elements;
  }

  // Held as output gradients in every mode.
  static bool IsLookup(const LayerDescription& layer) {
    return layer.kind == LayerKind::kEmbedding || layer.kind == LayerKind::kPositions;
  }

  // A head's output gradients are formed again from its input, and its norm never waits. Positions
  // are added to the tokens' embedding: one gradient for both.
  bool HoldsOutputGrads(int unit, const LayerDescription& layer, const UnitMode& mode) const {
    if (TrainableElements(unit, layer) == 0 || mode.kept == Kept::kNothing || IsHead(layer) ||
        layer.kind == LayerKind::kPositions) {
      return false;
    }
    return mode.kept == Kept::kOutputGrads || mode.when == When::kAfterBackward ||
           (mode.kept == Kept::kExampleGrads && IsLookup(layer));
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
      .workspace_bytes = (micro_batch.HeldAndWorkspace() - micro_batch.Held()) * kFloat,
      .communicator_bytes = TouchedCommunicatorBytes(layout, options),
      .baseline_bytes = kRuntimeBytes + kControlBytes};
  const int64_t tensors = estimate.total_bytes() - estimate.baseline_bytes;
  estimate.workspace_bytes += static_cast<int64_t>(kFragmentation * static_cast<double>(tensors));
  return estimate;
}

}  // namespace sotto::layout
