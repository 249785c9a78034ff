#include "common/layout/model_description.h"

#include <algorithm>

namespace sotto::layout {

bool ModelDescription::IsTrainableStage(int stage) const {
  const UnitDescription& unit = units[stages[stage]];
  if (unit.layers.empty()) return unit.has_trainable();
  const bool is_last = stage + 1 == static_cast<int>(stages.size());
  const bool has_two_stages = std::count(stages.begin(), stages.end(), stages[stage]) > 1;
  for (const LayerDescription& layer : unit.layers) {
    const bool runs_here = !has_two_stages || layer.kind == LayerKind::kTiedEmbedding ||
                           layer.in_last_stage == is_last;
    if (!runs_here) continue;
    for (int parameter : layer.parameters) {
      if (unit.parameters[parameter].trainable) return true;
    }
  }
  return false;
}

std::vector<bool> ModelDescription::TrainableStages() const {
  std::vector<bool> trainable;
  for (int stage = 0; stage < static_cast<int>(stages.size()); ++stage) {
    trainable.push_back(IsTrainableStage(stage));
  }
  return trainable;
}

}  // namespace sotto::layout
