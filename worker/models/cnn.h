#ifndef SOTTO_WORKER_MODELS_CNN_H_
#define SOTTO_WORKER_MODELS_CNN_H_

#include "absl/status/statusor.h"
#include "common/layout/image_dimensions.h"
#include "common/layout/model_description.h"
#include "worker/models/stage_stack.h"

namespace sotto::models {

// The stages of a CNN: its input, stages of convolutions, head. `dimensions` are the description's.
// INVALID_ARGUMENT when the description lacks a parameter.
absl::StatusOr<StageStack> MakeCnnStages(const layout::CnnDimensions& dimensions,
                                         const layout::ModelDescription& description);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_CNN_H_
