#include "worker/models/mlp.h"

#include <memory>

#include "common/base/status_macros.h"
#include "worker/models/layer_finder.h"
#include "worker/models/mlp_layer.h"
#include "worker/models/pooled_head.h"
#include "worker/models/value_input.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeLayer(const layout::MlpDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  const layout::UnitDescription& unit = description.units[index];
  LayerFinder find(unit, description.lora_alpha);
  const MlpLayer::Options options = {.unit = index,
                                     .linear = find.Linear(unit.name),
                                     .activation = ActivationKindOf(dimensions.activation)};
  RETURN_IF_ERROR(find.status());
  return std::make_unique<MlpLayer>(options);
}

}  // namespace

absl::StatusOr<StageStack> MakeMlpStages(const layout::MlpDimensions& dimensions,
                                         const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  const PooledHead::Options head = {.head = find.Linear("head").base, .loss = dimensions.loss};
  RETURN_IF_ERROR(find.status());
  return StackStages(
      description, std::make_unique<ValueInput>(/*as_rows=*/true),
      [&](int unit) { return MakeLayer(dimensions, description, unit); },
      std::make_unique<PooledHead>(head));
}

}  // namespace sotto::models
