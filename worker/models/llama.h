#ifndef SOTTO_WORKER_MODELS_LLAMA_H_
#define SOTTO_WORKER_MODELS_LLAMA_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/model_description.h"
#include "worker/models/model.h"

namespace sotto::models {

// The stages of a Llama: embedding, blocks, head. `dimensions` are the description's, without
// zeros. INVALID_ARGUMENT when the description lacks a parameter.
absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeLlamaStages(
    const layout::LlamaDimensions& dimensions, const layout::ModelDescription& description,
    const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LLAMA_H_
