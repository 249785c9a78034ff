#include "worker/plan_manifest.h"

namespace sotto {

v1::CheckpointManifest ManifestOf(const v1::JobPlan& plan, const std::string& job, int64_t attempt,
                                  const layout::ModelDescription& model,
                                  const layout::FlatLayout& layout) {
  v1::CheckpointManifest manifest;
  manifest.set_job(job);
  manifest.set_attempt(attempt);
  *manifest.mutable_model() = plan.spec().model();
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    v1::CheckpointUnit& message = *manifest.add_units();
    message.set_name(model.units[unit].name);
    message.set_padded_elements(layout.unit(unit).padded_elements);
    for (size_t i = 0; i < model.units[unit].parameters.size(); ++i) {
      v1::CheckpointTensor& tensor = *message.add_tensors();
      tensor.set_name(model.units[unit].parameters[i].name);
      for (int64_t extent : model.units[unit].parameters[i].shape) tensor.add_shape(extent);
      tensor.set_offset(layout.unit(unit).parameters[i].offset);
    }
  }
  return manifest;
}

}  // namespace sotto
