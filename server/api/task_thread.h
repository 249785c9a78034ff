// A thread for work that would block gRPC's threads: reading and hashing files, planning.
#ifndef SOTTO_SERVER_API_TASK_THREAD_H_
#define SOTTO_SERVER_API_TASK_THREAD_H_

#include <deque>
#include <functional>
#include <thread>

#include "common/base/mutex.h"

namespace sotto::api {

// Runs tasks one after the other. Thread-safe. The destructor runs what is queued, then joins.
class TaskThread {
 public:
  TaskThread();
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  // False, and nothing is queued, when 64 tasks wait: the caller answers UNAVAILABLE.
  bool TryRun(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr size_t kMaxWaiting = 64;

  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);

  Mutex mutex_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_TASK_THREAD_H_
