#include "common/layout/inference_memory.h"

#include <algorithm>
#include <map>
#include <string>
#include <variant>

#include "common/layout/layer_memory.h"

namespace sotto::layout {
namespace {

using Tensor = MemoryMeter::Tensor;
using Kind = TraceOperation::Kind;

constexpr double kInt64 = 2;  // in fp32 values

class Pass {
 public:
  Pass(const ModelDescription& model, const InferenceMemoryOptions& options, MemoryMeter& meter)
      : model_(model), options_(options), meter_(meter) {}

  void Run() {
    std::vector<Tensor> held;  // batches, caches, captured layers
    for (const int64_t texts : options_.groups) {
      held.push_back(Make(kInt64 * (texts * options_.tokens + options_.wanted_rows)));
    }
    std::vector<Tensor> flow(options_.groups.size());
    const size_t last = model_.stages.size() - 1;
    for (size_t stage = 0; stage < last; ++stage) {
      for (size_t group = 0; group < flow.size(); ++group) {
        const Tensor input = std::move(flow[group]);
        if (stage > 0 && options_.cached_tokens > 0) {
          held.push_back(
              Make(2 * KeyValueWidth() *
                   static_cast<double>(options_.groups[group] * options_.cached_tokens)));
        }
        flow[group] = RunStage(stage, options_.groups[group], input);
        if (std::count(options_.captured_layers.begin(), options_.captured_layers.end(), stage)) {
          held.push_back(flow[group]);
        }
      }
    }
    for (Tensor& input : flow) {
      RunHead(last);
      input.reset();
    }
  }

 private:
  Tensor Make(double elements) { return meter_.Make(elements, TensorUse::kActivations); }

  double KeyValueWidth() const {
    if (const auto* llama = std::get_if<LlamaDimensions>(&model_.family)) {
      return static_cast<double>(llama->key_value_heads * llama->head_width);
    }
    const auto* gpt2 = std::get_if<Gpt2Dimensions>(&model_.family);
    return gpt2 == nullptr ? 0 : static_cast<double>(gpt2->width);
  }

  // What a layer's Forward makes; `kept` is held as long as the stage runs.
  Tensor RunLayer(const LayerMemory& memory, const Tensor& input, std::vector<Tensor>& kept) {
    if (memory.keeps_input()) kept.push_back(input);
    if (memory.Statistics() > 0) kept.push_back(Make(memory.Statistics()));
    return Make(memory.Output());
  }

  int FindLayer(int unit, const std::string& name) const {
    const std::vector<LayerDescription>& layers = model_.units[unit].layers;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].name == name) return static_cast<int>(i);
    }
    return -1;
  }

  // The layer and its adapter.
  Tensor RunAdapted(int unit, int layer, const LayerMemory::Shape& shape, const Tensor& input,
                    std::vector<Tensor>& kept) {
    const UnitDescription& described = model_.units[unit];
    const Tensor output = RunLayer(LayerMemory(described, layer, shape), input, kept);
    const std::string& name = described.layers[layer].name;
    const int down = FindLayer(unit, name + ".lora_A");
    if (down < 0) return output;
    const Tensor hidden = RunLayer(LayerMemory(described, down, shape), input, kept);
    const int up = FindLayer(unit, name + ".lora_B");
    RunLayer(LayerMemory(described, up, shape), hidden, kept);
    return output;
  }

  Tensor RunStage(size_t stage, int64_t texts, const Tensor& input) {
    const LayerMemory::Shape shape = {
        .examples = texts, .tokens = options_.tokens, .threads = options_.threads};
    const std::vector<TraceOperation>& trace = model_.footprints[stage].forward;
    std::map<int, Tensor> values = {{0, input}};
    std::vector<Tensor> kept;
    Tensor output = trace.empty() ? input : nullptr;
    for (const TraceOperation& operation : trace) {
      switch (operation.kind) {
        case Kind::kMake:
          values[operation.result] = Make(SizeOf(operation.extent, texts));
          break;
        case Kind::kDrop:
          values.erase(operation.value);
          break;
        case Kind::kKeep:
          kept.push_back(values[operation.value]);
          break;
        case Kind::kReturn:
          output = values[operation.value];
          break;
        case Kind::kLayer:
          values[operation.result] = RunAdapted(model_.stages[stage], operation.layer, shape,
                                                values[operation.value], kept);
          break;
        default:
          break;
      }
    }
    return output;
  }

  double SizeOf(const Extent& extent, int64_t texts) const {
    const auto tokens = static_cast<double>(options_.tokens);
    return static_cast<double>(texts) *
           (extent.per_example + tokens * (extent.per_token + tokens * extent.per_token_sq));
  }

  // The wanted rows of a group: picked, normalised, turned into logits.
  void RunHead(size_t stage) {
    const UnitDescription& root = model_.units[model_.stages[stage]];
    const int64_t rows = std::min(options_.wanted_rows, options_.rows_at_once);
    if (rows == 0) return;
    std::vector<Tensor> kept;
    Tensor normalised;
    for (const TraceOperation& operation : model_.footprints[stage].forward) {
      if (operation.kind != Kind::kLayer && operation.kind != Kind::kHead) continue;
      const LayerMemory memory(root, operation.layer,
                               {.examples = 1, .tokens = rows, .threads = options_.threads});
      if (operation.kind == Kind::kLayer) {
        kept.push_back(Make(memory.Output()));  // The rows are as wide as the norm's output.
        normalised = RunLayer(memory, kept.back(), kept);
        continue;
      }
      meter_.Make(static_cast<double>(rows) * static_cast<double>(model_.vocabulary_size),
                  TensorUse::kWorkspace);
    }
  }

  const ModelDescription& model_;
  const InferenceMemoryOptions& options_;
  MemoryMeter& meter_;
};

}  // namespace

MemoryMeter::ByUse PeakOfInference(const ModelDescription& model,
                                   const InferenceMemoryOptions& options) {
  MemoryMeter meter;
  if (!model.footprints.empty()) Pass(model, options, meter).Run();
  return meter.peak();
}

}  // namespace sotto::layout
