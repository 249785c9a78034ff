// The coordinator's end of one rank's stream, as the scheduler sees it.
#ifndef SOTTO_SERVER_SCHEDULER_WORKER_CHANNEL_H_
#define SOTTO_SERVER_SCHEDULER_WORKER_CHANNEL_H_

#include "absl/status/status.h"
#include "proto/sotto/v1/worker_service.pb.h"

namespace sotto::scheduler {

// Thread-safe. Neither method blocks, calls back into the scheduler, or fails: a channel whose
// stream is gone ignores both (the scheduler hears of it through Scheduler::Detach).
class WorkerChannel {
 public:
  virtual ~WorkerChannel() = default;

  // Queues one message; messages arrive in the order of their calls.
  virtual void Send(const v1::CoordinatorMessage& message) = 0;

  // Ends the stream with `status` after what was queued.
  virtual void Close(const absl::Status& status) = 0;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_WORKER_CHANNEL_H_
