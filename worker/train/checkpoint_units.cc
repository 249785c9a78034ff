#include "worker/train/checkpoint_units.h"

#include "absl/strings/str_cat.h"

namespace sotto::train {
namespace {

void AddRegion(const layout::UnitDescription& unit, const layout::UnitLayout& layout,
               bool trainable, v1::CheckpointUnit* message) {
  message->set_name(trainable ? unit.name : FrozenUnitName(unit.name));
  message->set_padded_elements(trainable ? layout.padded_elements : layout.frozen.padded_elements);
  const int64_t begin = trainable ? 0 : layout.padded_elements;
  for (size_t i = 0; i < unit.parameters.size(); ++i) {
    if (unit.parameters[i].trainable != trainable) continue;
    v1::CheckpointTensor& tensor = *message->add_tensors();
    tensor.set_name(unit.parameters[i].name);
    for (int64_t extent : unit.parameters[i].shape) tensor.add_shape(extent);
    tensor.set_offset(layout.parameters[i].offset - begin);
  }
}

}  // namespace

std::string FrozenUnitName(const std::string& unit) { return absl::StrCat(unit, ".frozen"); }

void AddCheckpointUnits(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                        v1::CheckpointManifest* manifest) {
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    if (layout.unit(unit).has_trainable()) {
      AddRegion(model.units[unit], layout.unit(unit), /*trainable=*/true, manifest->add_units());
    }
    if (layout.unit(unit).frozen.elements > 0) {
      AddRegion(model.units[unit], layout.unit(unit), /*trainable=*/false, manifest->add_units());
    }
  }
}

}  // namespace sotto::train
