#include "common/layout/step_memory.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "common/layout/layer_memory.h"
#include "common/layout/step_state.h"

namespace sotto::layout {
namespace {

using Kind = TraceOperation::Kind;

// int64 tokens and two fp32 masks.
constexpr double kBatchPerToken = 2 + 1 + 1;
// Norms, coefficients, losses, labels.
constexpr double kBatchPerExample = 32;

class Step {
 public:
  Step(const ModelDescription& model, const StepMemoryOptions& options, MemoryMeter& meter)
      : model_(model),
        options_(options),
        meter_(meter),
        stages_(model.stages.size()),
        examples_(static_cast<double>(options.examples)),
        tokens_(static_cast<double>(options.tokens)) {}

  void Run() {
    const Tensor slabs = meter_.Make(Slabs(), TensorUse::kHeld);
    const Tensor batch = meter_.Make(examples_ * (kBatchPerExample + tokens_ * kBatchPerToken),
                                     TensorUse::kActivations);
    Tensor flow;
    for (size_t stage = 0; stage < stages_.size(); ++stage) flow = Forward(stage, flow);
    const bool clips = options_.mode.norm != Norm::kNone;
    Backward(/*for_norms=*/clips);
    if (!clips) return;
    MeasureDeferred();
    if (options_.mode.kept == Kept::kActivations) {
      Backward(/*for_norms=*/false);
    } else {
      for (StageState& state : stages_) state = {};
      Fold();
    }
  }

 private:
  LayerMemory MemoryOf(int unit, int layer) const {
    return {
        model_.units[unit],
        layer,
        {.examples = options_.examples, .tokens = options_.tokens, .threads = options_.threads}};
  }

  const UnitMode& ModeOf(int unit, int layer) const {
    return options_.layer_modes.empty() ? options_.mode : options_.layer_modes[unit][layer];
  }

  bool HoldsGradient(int unit, int layer) const {
    return ModeOf(unit, layer).kept == Kept::kExampleGrads && MemoryOf(unit, layer).has_slab();
  }

  // Both T x T matrices of the examples that are measured at once. A tied embedding's are its
  // head's.
  double GramScratch(int unit, int layer, double examples) const {
    const LayerMemory memory = MemoryOf(unit, layer);
    const bool takes = ModeOf(unit, layer).norm == Norm::kGram && !HoldsGradient(unit, layer);
    return takes && !memory.is_tied() ? memory.GramScratch(examples) : 0;
  }

  double Slabs() const {
    double elements = 0;
    for (size_t unit = 0; unit < model_.units.size(); ++unit) {
      for (size_t layer = 0; layer < model_.units[unit].layers.size(); ++layer) {
        const int u = static_cast<int>(unit);
        const int l = static_cast<int>(layer);
        if (HoldsGradient(u, l)) elements += MemoryOf(u, l).Slab();
      }
    }
    return elements;
  }

  Tensor Make(double elements, TensorUse use = TensorUse::kWorkspace) {
    return meter_.Make(elements, use);
  }
  void Scratch(double elements) { Make(elements); }

  double SizeOf(const Extent& extent) const {
    return examples_ *
           (extent.per_example + tokens_ * (extent.per_token + tokens_ * extent.per_token_sq));
  }

  // The layer of the adapter's map beside `layer`, -1 for none.
  int AdapterOf(int unit, int layer, const char* suffix) const {
    const std::vector<LayerDescription>& layers = model_.units[unit].layers;
    const std::string name = layers[layer].name + suffix;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].name == name) return static_cast<int>(i);
    }
    return -1;
  }

  // ---- forward ----

  Tensor Forward(size_t stage, const Tensor& input) {
    StageState& state = stages_[stage];
    const Tensor output = RunForward(stage, input);
    if (IsCheckpointed(stage)) state = StageState{.input = input};
    return output;
  }

  bool IsCheckpointed(size_t stage) const {
    return !options_.checkpointed_stages.empty() && options_.checkpointed_stages[stage];
  }

  Tensor RunForward(size_t stage, const Tensor& input) {
    const StageTrace& trace = model_.footprints[stage];
    StageState& state = stages_[stage];
    std::map<int, Tensor> values = {{0, input}};
    Tensor output = trace.forward.empty() ? input : nullptr;
    for (const TraceOperation& operation : trace.forward) {
      switch (operation.kind) {
        case Kind::kMake:
          values[operation.result] = Make(SizeOf(operation.extent), TensorUse::kActivations);
          break;
        case Kind::kDrop:
          values.erase(operation.value);
          break;
        case Kind::kKeep:
          state.kept.push_back(values[operation.value]);
          break;
        case Kind::kReturn:
          output = values[operation.value];
          break;
        case Kind::kLayer:
          values[operation.result] = LayerForward(stage, operation.layer, values[operation.value]);
          break;
        case Kind::kHead:
          HeadForward(stage, operation.layer, values[operation.value]);
          break;
        case Kind::kThrough:
        case Kind::kHeadThrough:
          break;
      }
    }
    return output;
  }

  Tensor OneLayerForward(size_t stage, int layer, const Tensor& input) {
    const LayerMemory memory = MemoryOf(model_.stages[stage], layer);
    Saved& saved = stages_[stage].saved[layer];
    saved.clear();
    if (memory.keeps_input()) saved.push_back(input);
    if (memory.Statistics() > 0) {
      saved.push_back(Make(memory.Statistics(), TensorUse::kActivations));
    }
    const Tensor output = Make(memory.Output(), TensorUse::kActivations);
    if (memory.is_convolution()) Scratch(memory.ConvolutionScratch(input->elements()));
    return output;
  }

  Tensor LayerForward(size_t stage, int layer, const Tensor& input) {
    const Tensor output = OneLayerForward(stage, layer, input);
    const int down = AdapterOf(model_.stages[stage], layer, ".lora_A");
    if (down < 0) return output;
    const Tensor hidden = OneLayerForward(stage, down, input);
    OneLayerForward(stage, AdapterOf(model_.stages[stage], layer, ".lora_B"), hidden);
    return output;
  }

  // ---- language heads ----

  double Logits(int unit, int layer) const {
    const LayerDescription& head = model_.units[unit].layers[layer];
    const bool tied = head.kind == LayerKind::kTiedEmbedding;
    return tokens_ * static_cast<double>(tied ? head.inputs : head.outputs);
  }

  // Examples whose logits are formed at once.
  double AtOnce(int unit, int layer) const {
    const double bytes = std::max(1.0, Logits(unit, layer) * sizeof(float));
    return std::clamp(std::floor(static_cast<double>(options_.head_chunk_bytes) / bytes), 1.0,
                      std::max(1.0, examples_));
  }

  void HeadForward(size_t stage, int layer, const Tensor& input) {
    const int unit = model_.stages[stage];
    StageState& state = stages_[stage];
    state.kept.push_back(input);
    const double at_once = AtOnce(unit, layer);
    const Tensor logits = Make(at_once * Logits(unit, layer), TensorUse::kActivations);
    if (at_once == examples_) state.logit_grads = logits;
  }

  Tensor HeadThrough(size_t stage, int layer, bool for_norms) {
    const int unit = model_.stages[stage];
    StageState& state = stages_[stage];
    const double at_once = AtOnce(unit, layer);
    const bool tied = model_.units[unit].layers[layer].kind == LayerKind::kTiedEmbedding;
    const bool trains = MemoryOf(unit, layer).is_trainable();
    const double width =
        static_cast<double>(model_.units[unit].layers[layer].kind == LayerKind::kTiedEmbedding
                                ? model_.units[unit].layers[layer].outputs
                                : model_.units[unit].layers[layer].inputs);
    Tensor input_grads;
    for (double begin = 0; begin < examples_; begin += at_once) {
      const double count = std::min(at_once, examples_ - begin);
      const Tensor logits =
          state.logit_grads != nullptr ? state.logit_grads : Make(count * Logits(unit, layer));
      if (for_norms && tied && trains && !HoldsGradient(unit, layer) &&
          state.cross_term == nullptr) {
        const auto vocabulary = static_cast<double>(model_.units[unit].layers[layer].inputs);
        state.cross_term = Make(examples_ * tokens_ * std::min(tokens_, vocabulary));
      }
      if (trains) VisitHead(unit, layer, state.kept, count, for_norms);
      const Tensor part = Make(count * tokens_ * width);
      if (count == examples_) {
        input_grads = part;
      } else if (input_grads == nullptr) {
        input_grads = Make(examples_ * tokens_ * width);
      }
    }
    const bool needs_another_pass = for_norms && options_.mode.kept == Kept::kActivations;
    if (!needs_another_pass) state.logit_grads.reset();
    return input_grads;
  }

  void VisitHead(int unit, int layer, const Saved& saved, double count, bool for_norms) {
    const LayerMemory memory = MemoryOf(unit, layer);
    const bool clips = options_.mode.norm != Norm::kNone;
    if (!for_norms) {
      Scratch(memory.WeightGradScratch(/*scaled=*/clips, count));
      return;
    }
    if (HoldsGradient(unit, layer)) return;
    // A head is measured at once, deferred norms or not.
    if (ModeOf(unit, layer).norm == Norm::kGram) Scratch(memory.GramScratch(count));
    if (!IsOnePass(ModeOf(unit, layer).kept)) return;
    book_.push_back({.unit = unit,
                     .layer = layer,
                     .saved = saved,
                     .recomputed = count * Logits(unit, layer),
                     .examples = count});
  }

  // ---- backward ----

  // From the last stage to the first that has trainable parameters.
  void Backward(bool for_norms) {
    size_t first = 0;
    while (first + 1 < stages_.size() && !model_.IsTrainableStage(static_cast<int>(first))) {
      ++first;
    }
    Tensor grads;
    for (size_t stage = stages_.size(); stage-- > first;) {
      if (IsCheckpointed(stage)) RunForward(stage, stages_[stage].input);
      grads = RunBackward(stage, grads, for_norms);
      if (!IsCheckpointed(stage)) continue;
      const bool again = for_norms && options_.mode.kept == Kept::kActivations;
      stages_[stage] = StageState{.input = again ? stages_[stage].input : nullptr};
    }
  }

  Tensor RunBackward(size_t stage, const Tensor& output_grads, bool for_norms) {
    std::map<int, Tensor> values = {{0, output_grads}};
    Tensor input_grads;
    for (const TraceOperation& operation : model_.footprints[stage].backward) {
      switch (operation.kind) {
        case Kind::kMake:
          values[operation.result] = Make(SizeOf(operation.extent));
          break;
        case Kind::kDrop:
          values.erase(operation.value);
          break;
        case Kind::kReturn:
          input_grads = values[operation.value];
          break;
        case Kind::kThrough:
          values[operation.result] = Through(stage, operation, values[operation.value], for_norms);
          break;
        case Kind::kHeadThrough:
          values[operation.result] = HeadThrough(stage, operation.layer, for_norms);
          break;
        case Kind::kKeep:
        case Kind::kLayer:
        case Kind::kHead:
          break;
      }
    }
    return input_grads;
  }

  Tensor Through(size_t stage, const TraceOperation& operation, const Tensor& grads,
                 bool for_norms) {
    const int unit = model_.stages[stage];
    const int layer = operation.layer;
    const Tensor input_grads = OneThrough(stage, layer, grads, for_norms, SizeOf(operation.extent));
    const int down = AdapterOf(unit, layer, ".lora_A");
    if (down < 0) return input_grads;
    const Tensor hidden = OneThrough(stage, AdapterOf(unit, layer, ".lora_B"), grads, for_norms);
    OneThrough(stage, down, hidden, for_norms);
    return input_grads;
  }

  // `input`: the size of the input gradient where the layer does not say it.
  Tensor OneThrough(size_t stage, int layer, const Tensor& grads, bool for_norms,
                    double input = 0) {
    const LayerMemory memory = MemoryOf(model_.stages[stage], layer);
    if (memory.is_trainable()) Visit(stage, layer, grads, for_norms);
    const double size = input > 0 ? input : memory.InputGrad();
    const Tensor input_grads = size > 0 ? Make(size) : nullptr;
    if (memory.is_convolution()) Scratch(memory.ConvolutionScratch(size));
    return input_grads;
  }

  void Visit(size_t stage, int layer, const Tensor& grads, bool for_norms) {
    const int unit = model_.stages[stage];
    const LayerMemory memory = MemoryOf(unit, layer);
    if (!for_norms) {
      const bool scaled = options_.mode.norm != Norm::kNone;
      WeightGrad(memory, stages_[stage].saved[layer], scaled, examples_);
      return;
    }
    const UnitMode& mode = ModeOf(unit, layer);
    const bool deferred = mode.when == When::kAfterBackward;
    const HeldVisit entry{.unit = unit,
                          .layer = layer,
                          .saved = stages_[stage].saved[layer],
                          .output_grads = grads,
                          .examples = examples_};
    const bool slab = HoldsGradient(unit, layer);
    const double gram = GramScratch(unit, layer, memory.is_convolution() ? 1 : examples_);
    if (!deferred) Scratch(slab ? memory.HoldScratch() : memory.NormScratch() + gram);
    if (deferred) Hold(entry, deferred_);
    if (!slab && IsOnePass(mode.kept)) Hold(entry, book_);
  }

  void WeightGrad(const LayerMemory& memory, const Saved& saved, bool scaled, double examples) {
    Scratch(memory.is_convolution() ? memory.ConvolutionScratch(saved[0]->elements())
                                    : memory.WeightGradScratch(scaled, examples));
  }

  static void Hold(const HeldVisit& entry, std::vector<HeldVisit>& where) {
    if (entry.output_grads != nullptr) entry.output_grads->SetUse(TensorUse::kHeld);
    where.push_back(entry);
  }

  // ---- after the pass with norms ----

  void MeasureDeferred() {
    for (HeldVisit& entry : deferred_) {
      if (!HoldsGradient(entry.unit, entry.layer)) continue;
      Scratch(MemoryOf(entry.unit, entry.layer).HoldScratch());
      entry = {};
    }
    // Pairs of layer and example, side by side.
    const double pairs = examples_ * static_cast<double>(deferred_.size());
    for (const HeldVisit& entry : deferred_) {
      if (entry.examples > 0) Scratch(GramScratch(entry.unit, entry.layer, pairs));
    }
    deferred_.clear();
  }

  // Blocks from the last to the first, then the root.
  void Fold() {
    for (size_t stage = stages_.size() - 1; stage-- > 0;) {
      for (HeldVisit& entry : book_) {
        if (entry.unit != model_.stages[stage] || entry.examples == 0) continue;
        const Tensor logits = Make(entry.recomputed);
        WeightGrad(MemoryOf(entry.unit, entry.layer), entry.saved, /*scaled=*/true, entry.examples);
        entry = {};
      }
    }
  }

  const ModelDescription& model_;
  const StepMemoryOptions& options_;
  MemoryMeter& meter_;
  std::vector<StageState> stages_;
  std::vector<HeldVisit> book_;
  std::vector<HeldVisit> deferred_;
  const double examples_;
  const double tokens_;
};

}  // namespace

MemoryMeter::ByUse PeakOfStep(const ModelDescription& model, const StepMemoryOptions& options) {
  if (model.footprints.empty()) return {};
  MemoryMeter meter;
  Step(model, options, meter).Run();
  return meter.peak();
}

}  // namespace sotto::layout
