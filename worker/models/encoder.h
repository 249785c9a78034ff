#ifndef SOTTO_WORKER_MODELS_ENCODER_H_
#define SOTTO_WORKER_MODELS_ENCODER_H_

#include "absl/status/statusor.h"
#include "common/layout/encoder_dimensions.h"
#include "common/layout/model_description.h"
#include "worker/models/stage_stack.h"

namespace sotto::models {

// The stages of a classifying encoder: embedding, blocks, head. `dimensions` are the description's,
// without zeros. INVALID_ARGUMENT when the description lacks a parameter.
absl::StatusOr<StageStack> MakeEncoderStages(const layout::EncoderDimensions& dimensions,
                                             const layout::ModelDescription& description);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_ENCODER_H_
