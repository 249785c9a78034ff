#include "worker/plan_manifest.h"

#include <limits>

#include "worker/train/checkpoint_units.h"

namespace sotto {
namespace {

const char* NameOf(v1::SamplerPlan::Kind kind) {
  switch (kind) {
    case v1::SamplerPlan::POISSON:
      return "poisson";
    case v1::SamplerPlan::SHUFFLED:
      return "shuffled";
    case v1::SamplerPlan::FULL_BATCH:
      return "full_batch";
    default:
      return "";
  }
}

v1::SamplerPosition SamplerOf(const v1::JobPlan& plan) {
  v1::SamplerPosition position;
  position.set_kind(NameOf(plan.privacy().sampler().kind()));
  position.set_sampling_rate(plan.privacy().sampling_rate());
  position.set_steps_per_epoch(plan.privacy().sampler().steps_per_epoch());
  return position;
}

// Of all steps; checkpoints take those that they hold.
v1::AccountantPosition AccountantOf(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  v1::AccountantPosition position;
  position.set_not_private(privacy.not_private());
  position.set_delta(privacy.delta());
  for (int i = 0; i < privacy.segments_size(); ++i) {
    v1::ReleasedSteps& released = *position.add_released();
    released.set_first_step(privacy.segments(i).first_step());
    released.set_end_step(i + 1 < privacy.segments_size() ? privacy.segments(i + 1).first_step()
                                                          : std::numeric_limits<int64_t>::max());
    released.set_noise_multiplier(privacy.segments(i).noise_multiplier());
  }
  return position;
}

}  // namespace

v1::CheckpointManifest ManifestOf(const v1::JobPlan& plan, const std::string& job, int64_t attempt,
                                  const layout::ModelDescription& model,
                                  const layout::FlatLayout& layout) {
  v1::CheckpointManifest manifest;
  manifest.set_job(job);
  manifest.set_attempt(attempt);
  *manifest.mutable_model() = plan.spec().model();
  *manifest.mutable_sampler() = SamplerOf(plan);
  *manifest.mutable_accountant() = AccountantOf(plan);
  train::AddCheckpointUnits(model, layout, &manifest);
  return manifest;
}

}  // namespace sotto
