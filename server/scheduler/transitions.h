// Which state a job may go to, and why: the whole table.
#ifndef SOTTO_SERVER_SCHEDULER_TRANSITIONS_H_
#define SOTTO_SERVER_SCHEDULER_TRANSITIONS_H_

#include <array>

#include "proto/sotto/v1/job.pb.h"

namespace sotto::scheduler {

struct Transition {
  v1::JobState from;
  v1::JobState to;
  v1::StateReason reason;
};

// From QUEUED to an end. CANCELLING and PAUSING end as SUCCEEDED when the last step was done before
// the stop arrived.
inline constexpr auto kTransitions = std::to_array<Transition>({
    {v1::QUEUED, v1::STARTING, v1::SLOTS_GRANTED},
    {v1::QUEUED, v1::CANCELLED, v1::USER_REQUEST},
    {v1::QUEUED, v1::PAUSED, v1::USER_REQUEST},
    {v1::STARTING, v1::RUNNING, v1::ALL_RANKS_ATTACHED},
    {v1::STARTING, v1::RECOVERING, v1::WORKER_LOST},
    {v1::STARTING, v1::RECOVERING, v1::WORKER_FAILED},
    {v1::STARTING, v1::RECOVERING, v1::START_TIMEOUT},
    {v1::STARTING, v1::RECOVERING, v1::COORDINATOR_RESTART},
    {v1::STARTING, v1::CANCELLING, v1::USER_REQUEST},
    {v1::STARTING, v1::PAUSING, v1::USER_REQUEST},
    {v1::STARTING, v1::FAILED, v1::RESTARTS_EXHAUSTED},
    {v1::STARTING, v1::FAILED, v1::INVALID_DATA},
    {v1::STARTING, v1::FAILED, v1::INVALID_CHECKPOINT},
    {v1::STARTING, v1::FAILED, v1::PROTOCOL_MISMATCH},
    {v1::STARTING, v1::FAILED, v1::PLAN_CANNOT_RUN},
    {v1::STARTING, v1::FAILED, v1::INTERNAL},
    {v1::RUNNING, v1::SUCCEEDED, v1::STEPS_DONE},
    {v1::RUNNING, v1::SUCCEEDED, v1::BUDGET},
    {v1::RUNNING, v1::SUCCEEDED, v1::INFERENCE_DONE},
    {v1::RUNNING, v1::RECOVERING, v1::WORKER_LOST},
    {v1::RUNNING, v1::RECOVERING, v1::WORKER_FAILED},
    {v1::RUNNING, v1::RECOVERING, v1::COORDINATOR_RESTART},
    {v1::RUNNING, v1::CANCELLING, v1::USER_REQUEST},
    {v1::RUNNING, v1::PAUSING, v1::USER_REQUEST},
    {v1::RUNNING, v1::FAILED, v1::RESTARTS_EXHAUSTED},
    {v1::RUNNING, v1::FAILED, v1::INVALID_DATA},
    {v1::RUNNING, v1::FAILED, v1::INVALID_CHECKPOINT},
    {v1::RUNNING, v1::FAILED, v1::PROTOCOL_MISMATCH},
    {v1::RUNNING, v1::FAILED, v1::PLAN_CANNOT_RUN},
    {v1::RUNNING, v1::FAILED, v1::INTERNAL},
    {v1::RECOVERING, v1::STARTING, v1::BACKOFF_OVER},
    {v1::RECOVERING, v1::CANCELLING, v1::USER_REQUEST},
    {v1::RECOVERING, v1::PAUSING, v1::USER_REQUEST},
    {v1::PAUSING, v1::PAUSED, v1::USER_REQUEST},
    {v1::PAUSING, v1::CANCELLING, v1::USER_REQUEST},
    {v1::PAUSING, v1::SUCCEEDED, v1::STEPS_DONE},
    {v1::PAUSED, v1::QUEUED, v1::USER_REQUEST},
    {v1::PAUSED, v1::CANCELLED, v1::USER_REQUEST},
    {v1::CANCELLING, v1::CANCELLED, v1::USER_REQUEST},
    {v1::CANCELLING, v1::SUCCEEDED, v1::STEPS_DONE},
    {v1::CANCELLING, v1::SUCCEEDED, v1::INFERENCE_DONE},
});

constexpr bool IsAllowed(v1::JobState from, v1::JobState to, v1::StateReason reason) {
  for (const Transition& transition : kTransitions) {
    if (transition.from == from && transition.to == to && transition.reason == reason) return true;
  }
  return false;
}

constexpr bool IsTerminal(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_TRANSITIONS_H_
