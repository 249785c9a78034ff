#include "common/layout/adaptation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/layout/name_pattern.h"

namespace sotto::layout {
namespace {

constexpr absl::string_view kAdapter = ".lora_";
constexpr absl::string_view kAttentionParts[] = {".attn.", ".self_attn.", ".attention."};
constexpr absl::string_view kPrefixes[] = {"", "transformer.", "model."};

// Names that a message lists.
constexpr size_t kNamesShown = 12;

bool IsAttention(absl::string_view layer) {
  for (absl::string_view part : kAttentionParts) {
    if (absl::StrContains(layer, part)) return true;
  }
  return false;
}

bool IsNamed(absl::string_view pattern, absl::string_view parameter) {
  for (absl::string_view prefix : kPrefixes) {
    if (MatchesPattern(pattern, absl::StrCat(prefix, parameter))) return true;
  }
  return false;
}

// The index of the target that names the layer, -1 for none; 0 for attention without targets.
int TargetOf(const LoraAdaptation& lora, const LayerDescription& layer) {
  if (layer.kind != LayerKind::kLinear) return -1;
  if (lora.targets.empty()) return IsAttention(layer.name) ? 0 : -1;
  for (size_t i = 0; i < lora.targets.size(); ++i) {
    if (layer.name == lora.targets[i] || absl::EndsWith(layer.name, "." + lora.targets[i])) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

std::string Listed(std::vector<std::string> names) {
  if (names.size() > kNamesShown) {
    names.resize(kNamesShown);
    names.push_back("...");
  }
  return absl::StrJoin(names, ", ");
}

// What targets may name: linear maps of the blocks, without the blocks' own names.
std::string TargetNames(const ModelDescription& model) {
  std::vector<std::string> names;
  for (size_t unit = 1; unit < model.units.size(); ++unit) {
    const std::string block = model.units[unit].name + ".";
    for (const LayerDescription& layer : model.units[unit].layers) {
      if (layer.kind != LayerKind::kLinear || absl::StrContains(layer.name, kAdapter)) continue;
      const std::string name(absl::StripPrefix(layer.name, block));
      if (std::count(names.begin(), names.end(), name) == 0) names.push_back(name);
    }
  }
  return Listed(std::move(names));
}

// Some of what patterns may match.
std::string ParameterNames(const ModelDescription& model) {
  std::vector<std::string> names;
  for (const UnitDescription& unit : model.units) {
    for (const ParameterDescription& parameter : unit.parameters) names.push_back(parameter.name);
    if (names.size() > kNamesShown) break;
  }
  return Listed(std::move(names));
}

void AddAdapter(int64_t rank, const LayerDescription& base, UnitDescription& unit) {
  const auto add = [&](const char* suffix, ParameterDescription parameter, int64_t inputs,
                       int64_t outputs) {
    const std::string name = absl::StrCat(base.name, suffix);
    parameter.name = name + ".weight";
    parameter.shape = {outputs, inputs};
    parameter.weight_decay = true;
    unit.parameters.push_back(std::move(parameter));
    unit.layers.push_back({.name = name,
                           .kind = LayerKind::kLinear,
                           .inputs = inputs,
                           .outputs = outputs,
                           .rows_per_token = base.rows_per_token,
                           .one_row_per_example = base.one_row_per_example,
                           .parameters = {static_cast<int>(unit.parameters.size()) - 1}});
  };
  // The variance that the usual uniform initialisation has: 1 / (3 inputs).
  const double stddev = std::sqrt(1.0 / (3.0 * static_cast<double>(base.inputs)));
  add(".lora_A", {.init = Init::kNormal, .init_stddev = stddev}, base.inputs, rank);
  add(".lora_B", {.init = Init::kZeros}, rank, base.outputs);
}

absl::Status AddAdapters(const LoraAdaptation& lora, ModelDescription& model) {
  if (lora.rank < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.adaptation.lora.rank must be at least 1, but is ", lora.rank));
  }
  if (!std::isfinite(lora.alpha) || lora.alpha < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model.adaptation.lora.alpha must be finite and positive, but is ", lora.alpha));
  }
  model.lora_alpha = lora.alpha == 0 ? static_cast<double>(lora.rank) : lora.alpha;
  std::vector<bool> matched(std::max<size_t>(1, lora.targets.size()), false);
  for (size_t unit = 1; unit < model.units.size(); ++unit) {
    const std::vector<LayerDescription> layers = model.units[unit].layers;
    for (const LayerDescription& layer : layers) {
      const int target = TargetOf(lora, layer);
      if (target < 0) continue;
      matched[target] = true;
      AddAdapter(lora.rank, layer, model.units[unit]);
    }
  }
  for (size_t i = 0; i < matched.size(); ++i) {
    if (matched[i]) continue;
    return absl::InvalidArgumentError(
        lora.targets.empty()
            ? absl::StrCat("model.adaptation.lora.targets must name linear maps of the blocks (",
                           TargetNames(model), "): the model has none of an attention")
            : absl::StrCat("model.adaptation.lora.targets[", i,
                           "] must name a linear map of a block (", TargetNames(model),
                           "), but is \"", lora.targets[i], "\""));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Adapt(const Adaptation& adaptation, ModelDescription& model) {
  if (adaptation.lora.has_value()) {
    if (absl::Status status = AddAdapters(*adaptation.lora, model); !status.ok()) return status;
  }
  std::vector<bool> matched(adaptation.frozen.size(), false);
  const bool freezes_base = adaptation.lora.has_value() || adaptation.bias_only;
  int64_t trainable = 0;
  for (UnitDescription& unit : model.units) {
    for (ParameterDescription& parameter : unit.parameters) {
      const bool is_adapter = absl::StrContains(parameter.name, kAdapter);
      const bool is_bias = adaptation.bias_only && absl::EndsWith(parameter.name, ".bias");
      parameter.trainable = !freezes_base || is_adapter || is_bias;
      for (size_t i = 0; i < adaptation.frozen.size(); ++i) {
        if (!IsNamed(adaptation.frozen[i], parameter.name)) continue;
        matched[i] = true;
        parameter.trainable = false;
      }
      if (parameter.trainable) ++trainable;
    }
  }
  for (size_t i = 0; i < matched.size(); ++i) {
    if (matched[i]) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("model.adaptation.frozen[", i, "] must match the name of a parameter (",
                     ParameterNames(model), "), but is \"", adaptation.frozen[i], "\""));
  }
  if (trainable == 0) {
    return absl::InvalidArgumentError("model.adaptation leaves no parameter to train");
  }
  return absl::OkStatus();
}

}  // namespace sotto::layout
