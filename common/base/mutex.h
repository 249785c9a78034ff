// The project's mutex: absl::Mutex, and under ThreadSanitizer a std::mutex with the same interface,
// because Debian's Abseil is not instrumented and would give false races. Guard members with
// ABSL_GUARDED_BY.
#ifndef SOTTO_COMMON_BASE_MUTEX_H_
#define SOTTO_COMMON_BASE_MUTEX_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#ifdef __SANITIZE_THREAD__
#include <condition_variable>  // NOLINT: what ThreadSanitizer understands.
#include <mutex>               // NOLINT
#endif

namespace sotto {

// Exclusive, not recursive. Await* are called with the mutex held; they give it up until the
// condition is true and hold it again when they return. A condition depends only on state that this
// mutex guards.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

#ifndef __SANITIZE_THREAD__
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.Lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() { mutex_.AssertHeld(); }
  void Await(const absl::Condition& condition) { mutex_.Await(condition); }
  // Returns whether the condition is true. Real time: code with a Clock uses Clock::AwaitUntil.
  bool AwaitWithDeadline(const absl::Condition& condition, absl::Time deadline) {
    return mutex_.AwaitWithDeadline(condition, deadline);
  }

 private:
  absl::Mutex mutex_;
#else
  void Lock() { mutex_.lock(); }
  void Unlock() {
    if (num_waiters_ > 0) changed_.notify_all();
    mutex_.unlock();
  }
  void AssertHeld() const {}
  void Await(const absl::Condition& condition) {
    AwaitWithDeadline(condition, absl::InfiniteFuture());
  }
  bool AwaitWithDeadline(const absl::Condition& condition, absl::Time deadline) {
    std::unique_lock<std::mutex> lock(mutex_, std::adopt_lock);
    if (num_waiters_++ > 0) changed_.notify_all();  // Waiting gives the mutex up, as Unlock does.
    while (!condition.Eval()) {
      if (deadline == absl::InfiniteFuture()) {
        changed_.wait(lock);
      } else if (changed_.wait_until(lock, absl::ToChronoTime(deadline)) ==
                 std::cv_status::timeout) {
        break;
      }
    }
    --num_waiters_;
    lock.release();
    return condition.Eval();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int num_waiters_ = 0;
#endif

 public:
  bool AwaitWithTimeout(const absl::Condition& condition, absl::Duration timeout) {
    return AwaitWithDeadline(condition, absl::Now() + timeout);
  }
};

// Holds a mutex for a scope, optionally from when a condition is true.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(*mutex) {
    mutex_.Lock();
  }
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : MutexLock(&mutex) {}
  MutexLock(Mutex* mutex, const absl::Condition& condition) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : MutexLock(mutex) {
    mutex_.Await(condition);
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }

  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_MUTEX_H_
