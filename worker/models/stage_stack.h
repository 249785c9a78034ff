// The forward order of every family: a stage that reads the input, one for each unit but the root,
// a stage that forms the outputs.
#ifndef SOTTO_WORKER_MODELS_STAGE_STACK_H_
#define SOTTO_WORKER_MODELS_STAGE_STACK_H_

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/layout/model_description.h"
#include "worker/models/stage.h"

namespace sotto::models {

// In forward order.
using StageStack = std::vector<std::unique_ptr<Stage>>;

// Makes the stage of a unit other than the root: an index into ModelDescription::units.
using MakeUnitStage = absl::FunctionRef<absl::StatusOr<std::unique_ptr<Stage>>(int unit)>;

// `first`, what `make_stage` makes of units 1, 2, ..., `last`. Errors: make_stage's first.
absl::StatusOr<StageStack> StackStages(const layout::ModelDescription& description,
                                       std::unique_ptr<Stage> first, MakeUnitStage make_stage,
                                       std::unique_ptr<Stage> last);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_STAGE_STACK_H_
