// A value that another thread gives once. (absl::Notification is invisible to ThreadSanitizer.)
#ifndef SOTTO_SERVER_SCHEDULER_TESTING_ANSWER_H_
#define SOTTO_SERVER_SCHEDULER_TESTING_ANSWER_H_

#include <optional>
#include <utility>

#include "common/base/mutex.h"

namespace sotto::scheduler {

// Thread-safe.
template <typename T>
class Answer {
 public:
  void Set(T value) {
    MutexLock lock(mutex_);
    value_ = std::move(value);
  }
  T Await() {
    const auto given = [this] { return value_.has_value(); };
    MutexLock lock(mutex_);
    mutex_.Await(absl::Condition(&given));
    return *std::move(value_);
  }

 private:
  Mutex mutex_;
  std::optional<T> value_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_TESTING_ANSWER_H_
