#ifndef SOTTO_WORKER_MODELS_GPT2_H_
#define SOTTO_WORKER_MODELS_GPT2_H_

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"
#include "worker/models/model.h"
#include "worker/models/stage_stack.h"

namespace sotto::models {

// The stages of a GPT-2: embedding, blocks, head. INVALID_ARGUMENT when the description lacks a
// parameter.
absl::StatusOr<StageStack> MakeGpt2Stages(const layout::Gpt2Dimensions& dimensions,
                                          const layout::ModelDescription& description,
                                          const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_GPT2_H_
