// One piece of work on a thread of its own.
#ifndef SOTTO_WORKER_CHECKPOINT_BACKGROUND_TASK_H_
#define SOTTO_WORKER_CHECKPOINT_BACKGROUND_TASK_H_

#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "common/base/mutex.h"

namespace sotto::checkpoint {

// Used from one thread; the work runs on another.
class BackgroundTask {
 public:
  BackgroundTask() = default;
  ~BackgroundTask() { Await().IgnoreError(); }  // Nobody is left who would want to know.
  BackgroundTask(const BackgroundTask&) = delete;
  BackgroundTask& operator=(const BackgroundTask&) = delete;

  // Only after the last one's Await.
  void Start(std::function<absl::Status()> work) ABSL_LOCKS_EXCLUDED(mutex_);

  bool IsRunning() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits for the work that was started and returns its result; OK when there is none.
  absl::Status Await() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  bool is_running_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status result_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_WORKER_CHECKPOINT_BACKGROUND_TASK_H_
