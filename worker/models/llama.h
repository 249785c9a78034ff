#ifndef SOTTO_WORKER_MODELS_LLAMA_H_
#define SOTTO_WORKER_MODELS_LLAMA_H_

#include "absl/status/statusor.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/model_description.h"
#include "worker/models/model.h"
#include "worker/models/stage_stack.h"

namespace sotto::models {

// The stages of a Llama: embedding, blocks, head. `dimensions` are the description's, without
// zeros. INVALID_ARGUMENT when the description lacks a parameter.
absl::StatusOr<StageStack> MakeLlamaStages(const layout::LlamaDimensions& dimensions,
                                           const layout::ModelDescription& description,
                                           const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LLAMA_H_
