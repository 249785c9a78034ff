// What a job's released steps amount to.
#ifndef SOTTO_SERVER_SCHEDULER_EPSILON_OF_PLAN_H_
#define SOTTO_SERVER_SCHEDULER_EPSILON_OF_PLAN_H_

#include "proto/sotto/v1/plan.pb.h"
#include "server/scheduler/job_machine.h"

namespace sotto::scheduler {

// Epsilon at the plan's delta by what was released, from the same curve that the plan was made
// with. 0 for a job that promises nothing (the plan says not_private), infinity when the plan's
// numbers make no mechanism.
JobMachine::EpsilonOf EpsilonOfPlan(const v1::JobPlan& plan);

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_EPSILON_OF_PLAN_H_
