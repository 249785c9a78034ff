// WorkerService: where the ranks of running jobs attach.
#ifndef SOTTO_SERVER_API_WORKER_SERVICE_H_
#define SOTTO_SERVER_API_WORKER_SERVICE_H_

#include <memory>
#include <vector>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/worker_service.grpc.pb.h"
#include "server/api/worker_stream.h"
#include "server/scheduler/scheduler.h"

namespace sotto::api {

// Thread-safe. A rank proves itself by its attempt token, whatever the transport.
class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  // `scheduler` outlives the service.
  explicit WorkerService(scheduler::Scheduler& scheduler) : scheduler_(scheduler) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Attach(
      grpc::CallbackServerContext* context) override;

  // Ends every stream with `status`, and each later one at once: grpc::Server::Shutdown waits for
  // all of them.
  void Drain(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  scheduler::Scheduler& scheduler_;
  Mutex mutex_;
  std::vector<std::weak_ptr<WorkerStream>> streams_ ABSL_GUARDED_BY(mutex_);
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);  // Not OK once Drain was called.
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_WORKER_SERVICE_H_
