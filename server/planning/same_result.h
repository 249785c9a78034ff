// Plans of one job on other workers: what may differ between them, and what may not.
#ifndef SOTTO_SERVER_PLANNING_SAME_RESULT_H_
#define SOTTO_SERVER_PLANNING_SAME_RESULT_H_

#include "absl/status/status.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

// The workers of a spec with defaults, where `changes` sets other ones. What has no use under the
// strategy and slots that they end up with goes, unless `changes` sets it: rules then say so.
v1::WorkersSpec ChangedWorkers(const v1::WorkersSpec& workers, const v1::WorkersSpec& changes);

// Do both plans train the same model, for the same promise and charge? They may differ in workers,
// placement, schedule, memory, threads, predicted times, notes and the modes that `auto` picked.
// FAILED_PRECONDITION names every field in which they differ besides.
absl::Status CheckSameResult(const v1::JobPlan& plan, const v1::JobPlan& changed);

// Whether a layer has another mode.
bool HasOtherModes(const v1::JobPlan& plan, const v1::JobPlan& changed);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_SAME_RESULT_H_
