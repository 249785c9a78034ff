#include "common/layout/image_traces.h"

#include "common/layout/description_parts.h"
#include "common/layout/trace_builder.h"

namespace sotto::layout {
namespace {

using Value = TraceBuilder::Value;

// worker/models/value_input.h: the records' values, which the micro-batch holds.
StageTrace ValueTrace(const UnitDescription& root, double values) {
  TraceBuilder t(root);
  const Value loaded = t.PerExample(values);
  t.Keep(loaded);
  t.Return(loaded);
  return t.Build();
}

// worker/models/pooled_head.cc on what is already one row, and over the positions of an image.
StageTrace HeadTrace(const UnitDescription& root, double outputs) {
  TraceBuilder t(root);
  t.Keep(t.Layer("head", t.Argument()));
  t.StartBackward();
  t.Return(t.Through("head", t.PerExample(outputs)));
  return t.Build();
}

StageTrace ImageHeadTrace(const UnitDescription& root, double channels, double positions,
                          double outputs) {
  TraceBuilder t(root);
  t.Keep(t.Layer("head", t.PerExample(channels)));
  t.StartBackward();
  t.Through("head", t.PerExample(outputs));
  t.Return(t.PerExample(positions * channels));
  return t.Build();
}

// worker/models/mlp_layer.h.
StageTrace MlpLayerTrace(const UnitDescription& unit, double width) {
  TraceBuilder t(unit);
  t.Keep(t.Layer(unit.layers[0].name, t.Argument()));
  t.Return(t.PerExample(width));
  t.StartBackward();
  t.Return(t.Through(unit.layers[0].name, t.PerExample(width)));
  return t.Build();
}

// worker/models/cnn_stage.cc. `inputs`, `outputs`: values of an example.
StageTrace CnnStageTrace(const UnitDescription& unit, double inputs, double outputs) {
  TraceBuilder t(unit);
  const Value convolved = t.Layer("conv_1", t.Argument());
  t.Keep(t.Layer("norm_1", convolved));
  t.Drop(convolved);
  const Value hidden = t.PerExample(outputs);
  const Value convolved_2 = t.Layer("conv_2", hidden);
  t.Keep(t.Layer("norm_2", convolved_2));
  t.Drop(convolved_2);
  t.Return(t.PerExample(outputs));

  t.StartBackward();
  const Value conv_2_grads = t.Through("norm_2", t.PerExample(outputs));
  const Value through = t.Through("conv_2", conv_2_grads, {.per_example = outputs});
  t.PerExample(outputs);  // the hidden layer's
  t.Drop(through);
  const Value conv_1_grads = t.Through("norm_1", t.PerExample(outputs));
  t.Return(t.Through("conv_1", conv_1_grads, {.per_example = inputs}));
  return t.Build();
}

// worker/models/patch_embedding.cc.
StageTrace PatchTrace(const UnitDescription& root, double values, double patches, double width) {
  TraceBuilder t(root);
  t.Keep(t.PerExample(values));  // the micro-batch's
  const Value rows = t.PerExample(values);
  const Value embedded = t.Layer("patches", rows);
  t.Drop(rows);
  const Value class_token = t.Layer("class_token", t.Argument());
  const Value joined = t.PerExample((patches + 1) * width);
  t.Return(t.Layer("positions", joined));
  t.Drop(class_token);
  t.Drop(embedded);

  t.StartBackward();
  t.Through("positions", t.Argument());
  t.Through("class_token", t.PerExample(width));
  t.Through("patches", t.PerExample(patches * width));
  return t.Build();
}

// worker/models/pooled_head.cc on the first row.
StageTrace FirstRowHeadTrace(const UnitDescription& root, double rows, double width,
                             double outputs) {
  TraceBuilder t(root);
  t.Keep(t.Layer("head", t.Layer("norm", t.PerExample(width))));
  t.StartBackward();
  t.Through("norm", t.Through("head", t.PerExample(outputs)));
  t.Return(t.PerExample(rows * width));
  return t.Build();
}

// worker/models/dit_*.cc and modulated_branch.cc.
class DitTracer {
 public:
  explicit DitTracer(const DitDimensions& d)
      : patches_(static_cast<double>(d.grid.patches())),
        patch_values_(static_cast<double>(d.grid.patch_values())),
        width_(static_cast<double>(d.width)),
        tokens_(patches_ * width_),
        has_classes_(d.classes > 0),
        sizes_{.rows = patches_,
               .width = width_,
               .mlp_width = static_cast<double>(d.mlp_width),
               .heads = static_cast<double>(d.heads)} {}

  StageTrace Embedding(const UnitDescription& root) const {
    const double values = patches_ * patch_values_;
    TraceBuilder t(root);
    t.Keep(t.PerExample(2 * values));  // the micro-batch's images and noise
    const Value noised = t.PerExample(values);
    const Value rows = t.PerExample(values);
    const Value embedded = t.Layer("patches", rows);
    t.Drop(rows);
    t.Keep(t.Layer("time.up", t.PerExample(width_)));
    const Value condition = t.Layer("time.down", t.PerExample(width_));
    if (has_classes_) t.Layer("classes", t.Argument());
    const Value placed = t.Layer("positions", embedded);
    t.Return(t.PerExample(tokens_ + width_));
    for (const Value dropped : {noised, condition, placed}) t.Drop(dropped);

    t.StartBackward();
    const Value token_grads = t.PerExample(tokens_);
    const Value condition_grads = t.PerExample(width_);
    t.Through("positions", token_grads);
    if (has_classes_) t.Through("classes", condition_grads);
    t.Drop(t.Through("time.up", t.Through("time.down", condition_grads)));
    t.Through("patches", token_grads);
    return t.Build();
  }

  StageTrace Block(const UnitDescription& block) const {
    TraceBuilder t(block);
    t.Keep(t.PerExample(width_));  // the condition
    const Value tokens = t.PerExample(tokens_);
    t.Layer("modulation", t.PerExample(width_));
    const Value attended = Branch(tokens, /*is_attention=*/true, t);
    const Value middle = t.PerExample(tokens_);
    Branch(middle, /*is_attention=*/false, t);
    t.Drop(attended);
    const Value left = t.PerExample(tokens_);
    t.Return(t.PerExample(tokens_ + width_));
    t.Drop(left);

    t.StartBackward();
    t.PerExample(tokens_);  // the tokens' gradients
    BranchBackward(/*is_attention=*/false, t);
    t.PerExample(tokens_);  // the middle's
    BranchBackward(/*is_attention=*/true, t);
    t.Drop(t.Through("modulation", t.PerExample(6 * width_)));
    t.PerExample(tokens_);
    t.Return(t.PerExample(tokens_ + width_));
    return t.Build();
  }

  StageTrace Head(const UnitDescription& root) const {
    TraceBuilder t(root);
    t.Keep(t.PerExample(width_));
    t.Keep(t.Layer("final.modulation", t.PerExample(width_)));
    t.Keep(t.PerExample(tokens_));                 // the tokens
    t.Keep(t.PerExample(tokens_ + 2 * patches_));  // standardised, and their statistics
    const Value modulated = t.PerExample(tokens_);
    t.Keep(t.Layer("final.projection", modulated));
    t.Drop(modulated);
    t.Scratch({.per_example = patches_ * patch_values_});  // the noise by patches

    t.StartBackward();
    t.Through("final.projection", t.PerExample(1));
    t.PerExample(tokens_);
    t.Scratch({.per_example = tokens_});
    t.Through("final.modulation", t.PerExample(2 * width_));
    t.PerExample(tokens_);
    t.Return(t.PerExample(tokens_ + width_));
    return t.Build();
  }

 private:
  // Enter, the branch itself; its output is kept.
  Value Branch(Value input, bool is_attention, TraceBuilder& t) const {
    t.Keep(input);
    t.Keep(t.PerExample(3 * width_));
    t.Keep(t.PerExample(tokens_ + 2 * patches_));  // standardised, and their statistics
    const Value modulated = t.PerExample(tokens_);
    const Value output = is_attention ? TraceAttention(sizes_, modulated, t)
                                      : TraceFeedForward(sizes_, modulated, t);
    t.Keep(output);
    t.Drop(modulated);
    return output;
  }

  Value BranchBackward(bool is_attention, TraceBuilder& t) const {
    const Value output_grads = t.PerExample(tokens_);
    const Value modulated_grads = is_attention ? TraceAttentionBackward(sizes_, output_grads, t)
                                               : TraceFeedForwardBackward(sizes_, output_grads, t);
    const Value standardised_grads = t.PerExample(tokens_);
    t.Scratch({.per_example = tokens_});
    const Value input_grads = t.PerExample(tokens_);
    for (const Value dropped : {standardised_grads, modulated_grads, output_grads}) {
      t.Drop(dropped);
    }
    return input_grads;
  }

  const double patches_;
  const double patch_values_;
  const double width_;
  const double tokens_;
  const bool has_classes_;
  const BranchSizes sizes_;
};

}  // namespace

std::vector<StageTrace> MlpTraces(const ModelDescription& model, const MlpDimensions& d) {
  std::vector<StageTrace> traces = {ValueTrace(model.units[0], static_cast<double>(d.inputs))};
  for (size_t i = 0; i < d.hidden_widths.size(); ++i) {
    traces.push_back(MlpLayerTrace(model.units[i + 1], static_cast<double>(d.hidden_widths[i])));
  }
  traces.push_back(HeadTrace(model.units[0], static_cast<double>(d.outputs)));
  return traces;
}

std::vector<StageTrace> CnnTraces(const ModelDescription& model, const CnnDimensions& d) {
  auto inputs = static_cast<double>(d.channels * d.height * d.width);
  std::vector<StageTrace> traces = {ValueTrace(model.units[0], inputs)};
  double positions = 0;
  for (size_t i = 0; i < d.stage_channels.size(); ++i) {
    const auto stage = static_cast<int64_t>(i);
    positions = static_cast<double>(d.StageHeight(stage) * d.StageWidth(stage));
    const double outputs = positions * static_cast<double>(d.stage_channels[i]);
    traces.push_back(CnnStageTrace(model.units[i + 1], inputs, outputs));
    inputs = outputs;
  }
  traces.push_back(ImageHeadTrace(model.units[0], static_cast<double>(d.stage_channels.back()),
                                  positions, static_cast<double>(d.outputs)));
  return traces;
}

std::vector<StageTrace> VitTraces(const ModelDescription& model, const VitDimensions& d) {
  const auto patches = static_cast<double>(d.grid.patches());
  const auto width = static_cast<double>(d.width);
  std::vector<StageTrace> traces = {PatchTrace(
      model.units[0], patches * static_cast<double>(d.grid.patch_values()), patches, width)};
  const StageTrace block =
      EncoderBlockTrace(model.units[1], {.rows = patches + 1,
                                         .width = width,
                                         .mlp_width = static_cast<double>(d.mlp_width),
                                         .heads = static_cast<double>(d.heads)});
  traces.insert(traces.end(), static_cast<size_t>(d.layers), block);
  traces.push_back(
      FirstRowHeadTrace(model.units[0], patches + 1, width, static_cast<double>(d.outputs)));
  return traces;
}

std::vector<StageTrace> DitTraces(const ModelDescription& model, const DitDimensions& d) {
  const DitTracer tracer(d);
  std::vector<StageTrace> traces = {tracer.Embedding(model.units[0])};
  traces.insert(traces.end(), static_cast<size_t>(d.layers), tracer.Block(model.units[1]));
  traces.push_back(tracer.Head(model.units[0]));
  return traces;
}

}  // namespace sotto::layout
