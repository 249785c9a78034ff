#include "worker/models/testing/all_layers_description.h"

#include <string>
#include <utility>
#include <vector>

namespace sotto::models {
namespace {

using layout::Init;
using layout::LayerDescription;
using layout::LayerKind;
using layout::ParameterDescription;

constexpr int64_t kWidth = AllLayersOptions::kWidth;
constexpr int64_t kChannels = AllLayersOptions::kChannels;

ParameterDescription Weight(std::string name, std::vector<int64_t> shape) {
  return {.name = std::move(name),
          .shape = std::move(shape),
          .init = Init::kNormal,
          .init_stddev = 0.2,
          .weight_decay = true};
}

ParameterDescription Bias(std::string name, int64_t size) {
  return {.name = std::move(name), .shape = {size}, .init = Init::kZeros};
}

ParameterDescription Gain(std::string name, int64_t size) {
  return {.name = std::move(name), .shape = {size}, .init = Init::kOnes};
}

ParameterDescription Frozen(ParameterDescription parameter) {
  parameter.trainable = false;
  return parameter;
}

// Appends a layer with its parameters.
LayerDescription& Add(layout::UnitDescription& unit, std::string name, LayerKind kind,
                      int64_t inputs, int64_t outputs,
                      std::vector<ParameterDescription> parameters) {
  unit.layers.push_back(
      {.name = std::move(name), .kind = kind, .inputs = inputs, .outputs = outputs});
  for (ParameterDescription& parameter : parameters) {
    unit.layers.back().parameters.push_back(static_cast<int>(unit.parameters.size()));
    unit.parameters.push_back(std::move(parameter));
  }
  return unit.layers.back();
}

layout::UnitDescription Root(const AllLayersOptions& options) {
  layout::UnitDescription unit{.name = "root"};
  const int64_t vocabulary = options.vocabulary_size;
  Add(unit, "wte", options.tied_head ? LayerKind::kTiedEmbedding : LayerKind::kEmbedding,
      vocabulary, kWidth, {Weight("wte.weight", {vocabulary, kWidth})});
  Add(unit, "wpe", LayerKind::kPositions, options.max_length, kWidth,
      {Weight("wpe.weight", {options.max_length, kWidth})});
  Add(unit, "ln_f", LayerKind::kLayerNorm, kWidth, kWidth,
      {Gain("ln_f.weight", kWidth), Bias("ln_f.bias", kWidth)})
      .in_last_stage = true;
  if (!options.tied_head) {
    Add(unit, "lm_head", LayerKind::kLinear, kWidth, vocabulary,
        {Weight("lm_head.weight", {vocabulary, kWidth})})
        .in_last_stage = true;
  }
  return unit;
}

layout::UnitDescription Convolution(const AllLayersOptions& options) {
  layout::UnitDescription unit{.name = "convolution"};
  Add(unit, "again", LayerKind::kEmbedding, options.vocabulary_size, kWidth,
      {Weight("again.weight", {options.vocabulary_size, kWidth})});
  // Both have two columns of positions per token.
  Add(unit, "spread", LayerKind::kConv2d, kChannels * 9, 2 * kChannels,
      {Weight("spread.weight", {2 * kChannels, kChannels, 3, 3}),
       Bias("spread.bias", 2 * kChannels)})
      .rows_per_token = 2;
  Add(unit, "mix", LayerKind::kConv2d, kChannels * 3, 2 * kChannels,
      {Weight("mix.weight", {2 * kChannels, kChannels, 3, 1})})
      .rows_per_token = 2;
  return unit;
}

layout::UnitDescription Attention() {
  layout::UnitDescription unit{.name = "attention"};
  constexpr int64_t kShared = AllLayersOptions::kKeyValueHeads * AllLayersOptions::kHeadWidth;
  constexpr int64_t kRank = AllLayersOptions::kRank;
  Add(unit, "norm", LayerKind::kRmsNorm, kWidth, kWidth, {Gain("norm.weight", kWidth)});
  Add(unit, "q", LayerKind::kLinear, kWidth, kWidth, {Weight("q.weight", {kWidth, kWidth})});
  Add(unit, "k", LayerKind::kLinear, kWidth, kShared, {Weight("k.weight", {kShared, kWidth})});
  Add(unit, "v", LayerKind::kLinear, kWidth, kShared, {Weight("v.weight", {kShared, kWidth})});
  Add(unit, "o", LayerKind::kLinear, kWidth, kWidth,
      {Frozen(Weight("o.weight", {kWidth, kWidth})), Frozen(Bias("o.bias", kWidth))});
  Add(unit, "o.lora_A", LayerKind::kLinear, kWidth, kRank,
      {Weight("o.lora_A.weight", {kRank, kWidth})});
  Add(unit, "o.lora_B", LayerKind::kLinear, kRank, kWidth,
      {Weight("o.lora_B.weight", {kWidth, kRank})});
  return unit;
}

layout::UnitDescription Modulation(const AllLayersOptions& options) {
  layout::UnitDescription unit{.name = "modulation"};
  Add(unit, "topic", LayerKind::kEmbedding, options.vocabulary_size, kWidth,
      {Weight("topic.weight", {options.vocabulary_size, kWidth})})
      .one_row_per_example = true;
  Add(unit, "group_norm", LayerKind::kGroupNorm, kChannels, kChannels,
      {Gain("group_norm.weight", kChannels), Bias("group_norm.bias", kChannels)})
      .one_row_per_example = true;
  Add(unit, "pool", LayerKind::kConv2d, kChannels / 2 * 9, 2 * kChannels,
      {Weight("pool.weight", {2 * kChannels, kChannels / 2, 3, 3}),
       Bias("pool.bias", 2 * kChannels)})
      .one_row_per_example = true;
  Add(unit, "modulate", LayerKind::kLinear, 2 * kChannels, 2 * kWidth,
      {Weight("modulate.weight", {2 * kChannels, 2 * kWidth}), Bias("modulate.bias", 2 * kWidth)})
      .one_row_per_example = true;
  Add(unit, "norm", LayerKind::kLayerNorm, kWidth, kWidth,
      {Frozen(Gain("norm.weight", kWidth)), Bias("norm.bias", kWidth)});
  Add(unit, "fc", LayerKind::kLinear, kWidth, 2 * kWidth,
      {Weight("fc.weight", {kWidth, 2 * kWidth}), Bias("fc.bias", 2 * kWidth)});
  Add(unit, "proj", LayerKind::kLinear, 2 * kWidth, kWidth,
      {Frozen(Weight("proj.weight", {2 * kWidth, kWidth})), Bias("proj.bias", kWidth)});
  return unit;
}

layout::UnitDescription FrozenUnit() {
  layout::UnitDescription unit{.name = "frozen"};
  Add(unit, "kept", LayerKind::kLinear, kWidth, kWidth,
      {Frozen(Weight("kept.weight", {kWidth, kWidth}))});
  return unit;
}

layout::UnitDescription Scale() {
  layout::UnitDescription unit{.name = "scale"};
  Add(unit, "scale", LayerKind::kRmsNorm, kWidth, kWidth, {Gain("scale.weight", kWidth)});
  return unit;
}

}  // namespace

layout::ModelDescription DescribeAllLayers(const AllLayersOptions& options) {
  return {.family = std::monostate(),
          .units = {Root(options), Convolution(options), Attention(), Modulation(options),
                    FrozenUnit(), Scale()},
          .stages = {0, 1, 2, 3, 4, 5, 0},
          .vocabulary_size = options.vocabulary_size};
}

}  // namespace sotto::models
