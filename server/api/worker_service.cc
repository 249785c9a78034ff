#include "server/api/worker_service.h"

#include <algorithm>

namespace sotto::api {

grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* WorkerService::Attach(
    grpc::CallbackServerContext* context) {
  std::shared_ptr<WorkerStream> stream = WorkerStream::Start(scheduler_);
  absl::Status draining;
  {
    MutexLock lock(&mutex_);
    draining = draining_;
    streams_.erase(std::remove_if(streams_.begin(), streams_.end(),
                                  [](const auto& held) { return held.expired(); }),
                   streams_.end());
    streams_.push_back(stream);
  }
  if (!draining.ok()) stream->Close(draining);
  return stream.get();  // Holds a reference to itself until gRPC is done with it.
}

void WorkerService::Drain(const absl::Status& status) {
  std::vector<std::weak_ptr<WorkerStream>> streams;
  {
    MutexLock lock(&mutex_);
    draining_ = status;
    streams.swap(streams_);
  }
  for (const std::weak_ptr<WorkerStream>& held : streams) {
    if (std::shared_ptr<WorkerStream> stream = held.lock()) stream->Close(status);
  }
}

}  // namespace sotto::api
