#ifndef SOTTO_WORKER_MODELS_GPT2_H_
#define SOTTO_WORKER_MODELS_GPT2_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"
#include "worker/models/model.h"

namespace sotto::models {

// The stages of a GPT-2: embedding, blocks, head. INVALID_ARGUMENT when the description lacks a
// parameter.
absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeGpt2Stages(
    const layout::Gpt2Dimensions& dimensions, const layout::ModelDescription& description,
    const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_GPT2_H_
