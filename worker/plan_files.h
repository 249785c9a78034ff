// The token files that a plan names.
#ifndef SOTTO_WORKER_PLAN_FILES_H_
#define SOTTO_WORKER_PLAN_FILES_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "common/dataset/token_file.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

// The private dataset. INVALID_ARGUMENT, DATA_LOSS and others of dataset::CheckRegistered: it is
// not the one that was registered, or has tokens that the model has not.
absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenDataset(const v1::JobPlan& plan,
                                                                int64_t vocabulary_size);

// The public evaluation file, fully validated; null when the plan names none.
absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenEvaluation(const v1::JobPlan& plan,
                                                                   int64_t vocabulary_size);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_FILES_H_
