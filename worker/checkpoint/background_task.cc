#include "worker/checkpoint/background_task.h"

#include <utility>

#include "common/base/log.h"

namespace sotto::checkpoint {

void BackgroundTask::Start(std::function<absl::Status()> work) {
  SOTTO_CHECK(!thread_.joinable());
  {
    MutexLock lock(&mutex_);
    is_running_ = true;
  }
  thread_ = std::thread([this, work = std::move(work)] {
    absl::Status result = work();
    MutexLock lock(&mutex_);
    result_ = std::move(result);
    is_running_ = false;
  });
}

bool BackgroundTask::IsRunning() const {
  MutexLock lock(&mutex_);
  return is_running_;
}

absl::Status BackgroundTask::Await() {
  if (thread_.joinable()) thread_.join();
  MutexLock lock(&mutex_);
  return std::exchange(result_, absl::OkStatus());
}

}  // namespace sotto::checkpoint
