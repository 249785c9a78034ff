// What a training's checkpoints say of themselves.
#ifndef SOTTO_WORKER_PLAN_MANIFEST_H_
#define SOTTO_WORKER_PLAN_MANIFEST_H_

#include <cstdint>
#include <string>

#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/checkpoint.pb.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

// job, attempt, model, sampler, accountant, units; the rest is filled in by the checkpointer and
// the caller.
v1::CheckpointManifest ManifestOf(const v1::JobPlan& plan, const std::string& job, int64_t attempt,
                                  const layout::ModelDescription& model,
                                  const layout::FlatLayout& layout);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_MANIFEST_H_
