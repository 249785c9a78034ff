#include "common/layout/layer_rules.h"

#include "absl/strings/str_cat.h"

namespace sotto::layout {

absl::string_view LayerKindName(LayerKind kind) {
  switch (kind) {
    case LayerKind::kLinear:
      return "linear";
    case LayerKind::kEmbedding:
      return "embedding";
    case LayerKind::kPositions:
      return "positions";
    case LayerKind::kTiedEmbedding:
      return "tied_embedding";
    case LayerKind::kLayerNorm:
      return "layer_norm";
    case LayerKind::kRmsNorm:
      return "rms_norm";
    case LayerKind::kGroupNorm:
      return "group_norm";
    case LayerKind::kConv2d:
      return "conv2d";
    case LayerKind::kBatchNorm:
      return "batch_norm";
  }
  return "";
}

std::optional<LayerKind> FindLayerKind(absl::string_view name) {
  for (LayerKind kind : {LayerKind::kLinear, LayerKind::kEmbedding, LayerKind::kPositions,
                         LayerKind::kTiedEmbedding, LayerKind::kLayerNorm, LayerKind::kRmsNorm,
                         LayerKind::kGroupNorm, LayerKind::kConv2d, LayerKind::kBatchNorm}) {
    if (LayerKindName(kind) == name) return kind;
  }
  return std::nullopt;
}

bool HasNormRule(LayerKind kind) {
  return kind != LayerKind::kGroupNorm && kind != LayerKind::kBatchNorm;
}

absl::Status CheckExamplesApart(const ModelDescription& model) {
  for (const UnitDescription& unit : model.units) {
    for (const LayerDescription& layer : unit.layers) {
      if (layer.kind != LayerKind::kBatchNorm) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("unit ", unit.name, ": layer ", layer.name, " (", LayerKindName(layer.kind),
                       ") mixes the examples of a batch, so no example's gradient can be clipped; "
                       "use group_norm or layer_norm"));
    }
  }
  return absl::OkStatus();
}

}  // namespace sotto::layout
