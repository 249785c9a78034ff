// What is known of each kind of layer.
#ifndef SOTTO_COMMON_LAYOUT_LAYER_RULES_H_
#define SOTTO_COMMON_LAYOUT_LAYER_RULES_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/layout/layer_description.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// "linear", "layer_norm", ...: as plans and messages print it.
absl::string_view LayerKindName(LayerKind kind);

// The kind of this name.
std::optional<LayerKind> FindLayerKind(absl::string_view name);

// Whether an example's norm has a rule that needs no per-example gradient. A layer without one
// forms its own gradient, and the plan says so.
bool HasNormRule(LayerKind kind);

// INVALID_ARGUMENT, naming unit, layer and kind, when a layer mixes examples (batch norm): then no
// example has a gradient of its own and clipping bounds nothing.
absl::Status CheckExamplesApart(const ModelDescription& model);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LAYER_RULES_H_
