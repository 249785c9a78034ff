// The coordinator's end of one rank's Attach stream.
#ifndef SOTTO_SERVER_API_WORKER_STREAM_H_
#define SOTTO_SERVER_API_WORKER_STREAM_H_

#include <deque>
#include <memory>
#include <optional>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "server/scheduler/scheduler.h"
#include "server/scheduler/worker_channel.h"

namespace sotto::api {

// 1. Start() reads. 2. The first message must be a Hello: OnReadDone attaches to the scheduler. 3.
// Every later message goes to Scheduler::Receive, in order. 4. Send() queues; one write is in
// flight at a time. 5. The end, whatever its cause (the rank closed, the connection broke,
// Close()), is one Finish, called when no write is in flight. 6. OnDone detaches and gives up the
// stream's reference to itself.
//
// Thread-safe. gRPC never runs a reaction inside StartRead, StartWrite or Finish, so those are
// called under the lock.
class WorkerStream final
    : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
      public scheduler::WorkerChannel,
      public std::enable_shared_from_this<WorkerStream> {
 public:
  // `scheduler` outlives the stream.
  static std::shared_ptr<WorkerStream> Start(scheduler::Scheduler& scheduler);

  void Send(const v1::CoordinatorMessage& message) override ABSL_LOCKS_EXCLUDED(mutex_);
  void Close(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override;
  void OnDone() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit WorkerStream(scheduler::Scheduler& scheduler) : scheduler_(scheduler) {}

  // Hands `incoming_` to the scheduler.
  void Deliver();
  // Writes the head of the queue, or finishes a closed stream whose queue is empty, unless a write
  // is in flight.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  scheduler::Scheduler& scheduler_;
  // Touched by the read reactions only, which gRPC runs one at a time, and by OnDone after the last
  // of them.
  v1::WorkerMessage incoming_;
  std::optional<scheduler::Scheduler::StreamId> id_;

  Mutex mutex_;
  std::shared_ptr<WorkerStream> self_
      ABSL_GUARDED_BY(mutex_);  // Until OnDone: gRPC holds a raw pointer.
  std::deque<v1::CoordinatorMessage> outgoing_
      ABSL_GUARDED_BY(mutex_);  // The head lives until its write is done.
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // Set by the first cause of the end.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_WORKER_STREAM_H_
