// How a plan clips examples, and at which norm from step to step.
#ifndef SOTTO_WORKER_PLAN_CLIPPING_H_
#define SOTTO_WORKER_PLAN_CLIPPING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/dp/clip_threshold.h"
#include "worker/dp/clipping_rule.h"

namespace sotto {

// At the first step's clip norm. FAILED_PRECONDITION: a rule that this worker does not know, a
// margin below the one that the batch cap needs. INVALID_ARGUMENT: those of the rule.
absl::StatusOr<std::shared_ptr<const dp::ClippingRule>> MakeClippingRule(const v1::JobPlan& plan);

// FAILED_PRECONDITION: a norm that both adapts and follows a schedule, or adapts to counts that a
// private job releases without noise.
absl::StatusOr<std::unique_ptr<dp::ClipThreshold>> MakeClipThreshold(const v1::JobPlan& plan);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_CLIPPING_H_
