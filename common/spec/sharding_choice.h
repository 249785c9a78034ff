// How a job's model lies on its ranks, from messages. Whoever plans and whoever runs calls this.
#ifndef SOTTO_COMMON_SPEC_SHARDING_CHOICE_H_
#define SOTTO_COMMON_SPEC_SHARDING_CHOICE_H_

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "common/layout/wrapping.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

// FULL_SHARD where none is named.
layout::Strategy StrategyOf(v1::Strategy strategy);

// The model's blocks as units; no wrapping is by_block. INVALID_ARGUMENT: a kind of layers that
// does not exist; layout::Wrap's.
absl::StatusOr<layout::WrappedModel> WrapModel(const layout::ModelDescription& model,
                                               const v1::WrappingSpec& wrapping);

// What the plan says of modes, slots, strategy, units and recomputation. FAILED_PRECONDITION: the
// plan's layers or units are not those of the model. INVALID_ARGUMENT: a mode with a member left
// out.
absl::StatusOr<layout::ScheduleChoice> ScheduleChoiceOf(const v1::JobPlan& plan,
                                                        const layout::ModelDescription& model,
                                                        const layout::WrappedModel& wrapped);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_SHARDING_CHOICE_H_
