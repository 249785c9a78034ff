// What a JobMachine wants done. The scheduler does it, in order, and tells the machine the outcome.
#ifndef SOTTO_SERVER_SCHEDULER_EFFECTS_H_
#define SOTTO_SERVER_SCHEDULER_EFFECTS_H_

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "proto/sotto/v1/job.pb.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "server/launcher/launcher.h"
#include "server/scheduler/scheduler.h"

namespace sotto::scheduler {

struct Send {
  Scheduler::StreamId stream = 0;
  v1::CoordinatorMessage message;
};

struct Close {
  Scheduler::StreamId stream = 0;
  absl::Status status;
};

// One transaction: what happened, and the job as it is now.
struct Persist {
  v1::Job job;
  std::vector<v1::JobEvent> events;
  std::optional<int64_t> return_from;  // clean stop: no rank started this step or a later one
  bool forget_processes = false;       // the attempt's processes have all ended
  bool settle = false;                 // with the transition that ends the job
  bool new_plan = false;               // the job's plan replaces the stored one
  std::optional<Send> then;            // after the commit
};

// The transition to STARTING, with the attempt's fence and records in the same transaction; then
// the processes. Answered by SetCredentials, then OnLaunched or OnLaunchFailed.
struct StartAttempt {
  Persist persist;
};

// Answered by OnGrantCommitted.
struct CommitGrant {
  int64_t attempt = 0;
  int64_t first_step = 0;
  int64_t end_step = 0;  // exclusive
};

// SIGKILL. Answered by OnExit.
struct Kill {
  launcher::WorkerProcess process;
};

// What rank 0 measured; kept for plans to come.
struct KeepProfile {
  v1::DeviceProfile profile;
};

using Effect = std::variant<Send, Close, Persist, StartAttempt, CommitGrant, Kill, KeepProfile>;

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_EFFECTS_H_
