#include "server/api/task_thread.h"

#include <utility>

namespace sotto::api {

TaskThread::TaskThread() : thread_([this] { Loop(); }) {}

TaskThread::~TaskThread() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

bool TaskThread::TryRun(std::function<void()> task) {
  MutexLock lock(&mutex_);
  if (stopping_ || waiting_.size() >= kMaxWaiting) return false;
  waiting_.push_back(std::move(task));
  return true;
}

void TaskThread::Loop() {
  auto has_something_to_do = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return stopping_ || !waiting_.empty();
  };
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(&mutex_, absl::Condition(&has_something_to_do));
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    task();
  }
}

}  // namespace sotto::api
