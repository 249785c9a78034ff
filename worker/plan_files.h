// The token files that a plan names.
#ifndef SOTTO_WORKER_PLAN_FILES_H_
#define SOTTO_WORKER_PLAN_FILES_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/dataset/token_file.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

// The private dataset. INVALID_ARGUMENT, DATA_LOSS and others of dataset::CheckRegistered: it is
// not the one that was registered, has tokens or classes that the model has not, or lacks the
// labels that it needs.
absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenDataset(
    const v1::JobPlan& plan, const layout::ModelDescription& model);

// The public evaluation file, fully validated; null when the plan names none.
absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenEvaluation(
    const v1::JobPlan& plan, const layout::ModelDescription& model);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_FILES_H_
