#include "worker/plan_manifest.h"

#include "worker/train/checkpoint_units.h"

namespace sotto {

v1::CheckpointManifest ManifestOf(const v1::JobPlan& plan, const std::string& job, int64_t attempt,
                                  const layout::ModelDescription& model,
                                  const layout::FlatLayout& layout) {
  v1::CheckpointManifest manifest;
  manifest.set_job(job);
  manifest.set_attempt(attempt);
  *manifest.mutable_model() = plan.spec().model();
  train::AddCheckpointUnits(model, layout, &manifest);
  return manifest;
}

}  // namespace sotto
