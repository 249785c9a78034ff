// How a plan lays a model on the ranks and schedules it.
#ifndef SOTTO_WORKER_PLAN_SHARDING_H_
#define SOTTO_WORKER_PLAN_SHARDING_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/flat_layout.h"
#include "common/layout/strategy.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

// FAILED_PRECONDITION: the plan's ranks make no grid under its strategy.
absl::StatusOr<layout::RankGrid> GridOf(const v1::ShardingPlan& plan);

// FAILED_PRECONDITION: the plan's units or its schedule are not those that this worker makes of the
// model.
absl::Status CheckSharding(const v1::ShardingPlan& plan, const layout::FlatLayout& layout,
                           const layout::ScheduleOptions& schedule);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_SHARDING_H_
