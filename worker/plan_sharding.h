// How a plan cuts and schedules a model.
#ifndef SOTTO_WORKER_PLAN_SHARDING_H_
#define SOTTO_WORKER_PLAN_SHARDING_H_

#include "absl/status/status.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

layout::ScheduleOptions ScheduleOptionsOf(const v1::JobPlan& plan,
                                          const layout::ModelDescription& model,
                                          const layout::UnitMode& mode);

// FAILED_PRECONDITION: the plan's units or its schedule are not those that this worker makes of the
// model.
absl::Status CheckSharding(const v1::ShardingPlan& plan, const layout::FlatLayout& layout,
                           const layout::ScheduleOptions& schedule);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_SHARDING_H_
