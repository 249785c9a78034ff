#ifndef SOTTO_WORKER_MODELS_VIT_H_
#define SOTTO_WORKER_MODELS_VIT_H_

#include "absl/status/statusor.h"
#include "common/layout/image_dimensions.h"
#include "common/layout/model_description.h"
#include "worker/models/stage_stack.h"

namespace sotto::models {

// The stages of a ViT: patches, blocks, head. `dimensions` are the description's. INVALID_ARGUMENT
// when the description lacks a parameter.
absl::StatusOr<StageStack> MakeVitStages(const layout::VitDimensions& dimensions,
                                         const layout::ModelDescription& description);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_VIT_H_
