#include "server/database/request_queue.h"

#include <utility>

#include "absl/status/status.h"

namespace sotto::database {

void RequestQueue::Push(Request request) {
  {
    MutexLock lock(&mutex_);
    if (!is_closed_) {
      requests_.push_back(std::move(request));
      return;
    }
  }
  request.done(absl::UnavailableError("the coordinator is stopping: its database is closed"));
}

std::vector<Request> RequestQueue::Take(int limit) {
  auto is_ready = [this] { return is_closed_ || !requests_.empty(); };
  MutexLock lock(&mutex_, absl::Condition(&is_ready));
  std::vector<Request> taken;
  while (!requests_.empty() && static_cast<int>(taken.size()) < limit) {
    taken.push_back(std::move(requests_.front()));
    requests_.pop_front();
  }
  return taken;
}

void RequestQueue::Close() {
  MutexLock lock(&mutex_);
  is_closed_ = true;
}

}  // namespace sotto::database
