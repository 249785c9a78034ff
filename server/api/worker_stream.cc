#include "server/api/worker_stream.h"

#include <string>
#include <utility>

namespace sotto::api {

std::shared_ptr<WorkerStream> WorkerStream::Start(scheduler::Scheduler& scheduler) {
  std::shared_ptr<WorkerStream> stream(new WorkerStream(scheduler));
  MutexLock lock(&stream->mutex_);
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream;
}

void WorkerStream::Send(const v1::CoordinatorMessage& message) {
  MutexLock lock(&mutex_);
  if (end_.has_value()) return;
  outgoing_.push_back(message);
  Advance();
}

void WorkerStream::Close(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (end_.has_value()) return;
  end_ = status;
  Advance();
}

void WorkerStream::OnReadDone(bool ok) {
  if (!ok) {
    Close(absl::OkStatus());
    return;
  }
  Deliver();
  MutexLock lock(&mutex_);
  if (!finished_) StartRead(&incoming_);
}

void WorkerStream::Deliver() {
  if (id_.has_value()) {
    scheduler_.Receive(*id_, std::move(incoming_));
    return;
  }
  if (!incoming_.has_hello()) {
    Close(absl::InvalidArgumentError("the first message of an Attach stream must be hello"));
    return;
  }
  id_ = scheduler_.Attach(std::move(*incoming_.mutable_hello()), shared_from_this());
}

void WorkerStream::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  write_in_flight_ = false;
  outgoing_.pop_front();
  if (!ok) {
    outgoing_.clear();
    if (!end_.has_value()) end_ = absl::UnavailableError("the connection broke");
  }
  Advance();
}

void WorkerStream::OnCancel() { Close(absl::CancelledError("cancelled")); }

void WorkerStream::OnDone() {
  if (id_.has_value()) scheduler_.Detach(*id_);
  std::shared_ptr<WorkerStream> self;
  MutexLock lock(&mutex_);
  self.swap(self_);
  // `lock` goes before `self`, which may be the last reference.
}

void WorkerStream::Advance() {
  if (write_in_flight_ || finished_) return;
  if (!outgoing_.empty()) {
    write_in_flight_ = true;
    StartWrite(&outgoing_.front());
    return;
  }
  if (end_.has_value()) {
    finished_ = true;
    Finish(grpc::Status(static_cast<grpc::StatusCode>(end_->code()), std::string(end_->message())));
  }
}

}  // namespace sotto::api
