#include "worker/models/mlp.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/models/layer_finder.h"
#include "worker/models/mlp_layer.h"
#include "worker/models/pooled_head.h"
#include "worker/models/value_input.h"

namespace sotto::models {

absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeMlpStages(
    const layout::MlpDimensions& dimensions, const layout::ModelDescription& description) {
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<ValueInput>(/*as_rows=*/true));
  for (size_t i = 1; i < description.units.size(); ++i) {
    LayerFinder find(description.units[i], description.lora_alpha);
    const MlpLayer::Options layer = {.unit = static_cast<int>(i),
                                     .linear = find.Linear(description.units[i].name),
                                     .activation = ActivationKindOf(dimensions.activation)};
    RETURN_IF_ERROR(find.status());
    stages.push_back(std::make_unique<MlpLayer>(layer));
  }
  LayerFinder find(description.units[0]);
  const PooledHead::Options head = {.head = find.Linear("head").base, .loss = dimensions.loss};
  RETURN_IF_ERROR(find.status());
  stages.push_back(std::make_unique<PooledHead>(head));
  return stages;
}

}  // namespace sotto::models
