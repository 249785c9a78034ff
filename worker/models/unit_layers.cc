#include "worker/models/unit_layers.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace sotto::models {
namespace {

constexpr int kNone = -1;

int Find(const layout::UnitDescription& unit, const std::string& name) {
  for (size_t i = 0; i < unit.parameters.size(); ++i) {
    if (unit.parameters[i].name == name) return static_cast<int>(i);
  }
  return kNone;
}

nn::Linear::Options PlainOptions(const layout::UnitDescription& unit, int weight, int bias,
                                 nn::Linear::WeightLayout weight_layout) {
  return {.weight = weight,
          .bias = bias,
          .weight_layout = weight_layout,
          .weight_frozen = IsFrozen(unit, weight),
          .bias_frozen = IsFrozen(unit, bias),
          .index = LayerIndex(unit, weight)};
}

}  // namespace

int LayerIndex(const layout::UnitDescription& unit, int parameter) {
  for (size_t i = 0; i < unit.layers.size(); ++i) {
    if (std::ranges::count(unit.layers[i].parameters, parameter) > 0) return static_cast<int>(i);
  }
  return 0;
}

bool IsFrozen(const layout::UnitDescription& unit, int parameter) {
  return parameter >= 0 && parameter < static_cast<int>(unit.parameters.size()) &&
         !unit.parameters[parameter].trainable;
}

nn::LoraLinear::Options LinearOptions(const layout::UnitDescription& unit, int weight, int bias,
                                      nn::Linear::WeightLayout weight_layout, double lora_alpha) {
  constexpr auto kRowsOut = nn::Linear::WeightLayout::kOutputInput;
  nn::LoraLinear::Options options{.base = PlainOptions(unit, weight, bias, weight_layout)};
  const std::string name(absl::StripSuffix(unit.parameters[weight].name, ".weight"));
  const int down = Find(unit, absl::StrCat(name, ".lora_A.weight"));
  const int up = Find(unit, absl::StrCat(name, ".lora_B.weight"));
  if (down == kNone || up == kNone) return options;
  const auto rank = static_cast<double>(unit.parameters[down].shape[0]);
  options.adapter = {.down = PlainOptions(unit, down, nn::Linear::kNoBias, kRowsOut),
                     .up = PlainOptions(unit, up, nn::Linear::kNoBias, kRowsOut),
                     .scale = lora_alpha / rank};
  return options;
}

nn::LayerNorm::Options LayerNormOptions(const layout::UnitDescription& unit, int gain, int bias,
                                        double epsilon) {
  return {.gain = gain,
          .bias = bias,
          .epsilon = epsilon,
          .gain_frozen = IsFrozen(unit, gain),
          .bias_frozen = IsFrozen(unit, bias),
          .index = LayerIndex(unit, gain)};
}

nn::EmbeddingOptions EmbeddingOptionsOf(const layout::UnitDescription& unit, int weight) {
  return {.weight = weight, .frozen = IsFrozen(unit, weight), .index = LayerIndex(unit, weight)};
}

nn::RmsNorm::Options RmsNormOptions(const layout::UnitDescription& unit, int gain, double epsilon) {
  return {.gain = gain,
          .epsilon = epsilon,
          .frozen = IsFrozen(unit, gain),
          .index = LayerIndex(unit, gain)};
}

nn::ActivationKind ActivationKindOf(layout::Activation activation) {
  switch (activation) {
    case layout::Activation::kGeluTanh:
      return nn::ActivationKind::kGeluTanh;
    case layout::Activation::kGelu:
      return nn::ActivationKind::kGelu;
    case layout::Activation::kRelu:
      return nn::ActivationKind::kRelu;
    case layout::Activation::kSilu:
      return nn::ActivationKind::kSilu;
  }
  return nn::ActivationKind::kGeluTanh;
}

}  // namespace sotto::models
