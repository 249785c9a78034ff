// The scheduler's numbers, and the pure functions that use them.
#ifndef SOTTO_SERVER_SCHEDULER_POLICY_H_
#define SOTTO_SERVER_SCHEDULER_POLICY_H_

#include <cstdint>

#include "absl/time/time.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::scheduler {

struct Policy {
  int max_restarts = 10;  // attempts lost to failures
  absl::Duration first_backoff = absl::Milliseconds(500);
  absl::Duration max_backoff = absl::Seconds(60);
  absl::Duration start_timeout = absl::Minutes(3);    // launch to the last rank's Hello
  absl::Duration reattach_grace = absl::Seconds(30);  // a live process without a stream
  absl::Duration lease = absl::Seconds(60);           // a stream without a message
  // Stop or the first Finished to the last exit. After a pause's Stop only silence counts, since a
  // step may take long and what is killed is paid again.
  absl::Duration stop_grace = absl::Seconds(60);
  absl::Duration coordinator_grace = absl::Minutes(5);  // what workers are told to wait for us
  absl::Duration grant_length = absl::Seconds(2);       // between 1 and 5 s (design section 6)
  // The newest events of a job that are kept. A job of a million steps would fill a disk with
  // reports that nobody reads; what led to its states stays in its history.
  int64_t kept_events = 100000;
};

// Before restart number `restarts`, from 1: doubles each time.
absl::Duration Backoff(const Policy& policy, int restarts);

// Steps of the next grant: as many as fit grant_length at the measured pace, at most half of those
// between two checkpoints, so that the two outstanding grants that a crash may lose cost no more
// than the steps since the last checkpoint; at least 1, and not beyond the end of the job.
// `seconds_per_step` 0: unknown.
int64_t GrantSteps(const Policy& policy, const v1::TrainPlan& train, double seconds_per_step,
                   int64_t first_step);

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_POLICY_H_
