// Time as a dependency: production code takes a Clock, tests give it a SimulatedClock and never
// sleep.
#ifndef SOTTO_COMMON_BASE_CLOCK_H_
#define SOTTO_COMMON_BASE_CLOCK_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "common/base/mutex.h"

namespace sotto {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time Now() const = 0;

  // Waits, with `mutex` held by the caller, until `condition` is true or this clock reaches
  // `deadline`; gives the mutex up while it waits and holds it again on return. Returns whether the
  // condition is true. The condition depends only on state that `mutex` guards.
  virtual bool AwaitUntil(Mutex& mutex, const absl::Condition& condition, absl::Time deadline) = 0;

  // AwaitUntil with a deadline of Now() + timeout.
  bool AwaitFor(Mutex& mutex, const absl::Condition& condition, absl::Duration timeout) {
    return AwaitUntil(mutex, condition, Now() + timeout);
  }
};

// The system's clock.
class RealClock : public Clock {
 public:
  // A process-wide instance (it has no state).
  static RealClock& Get();

  absl::Time Now() const override;
  bool AwaitUntil(Mutex& mutex, const absl::Condition& condition, absl::Time deadline) override;
};

// A clock that moves only when told. Moving it wakes everyone whose deadline has come.
class SimulatedClock : public Clock {
 public:
  explicit SimulatedClock(absl::Time now = absl::UnixEpoch() + absl::Hours(24 * 365 * 50))
      : now_(now) {}

  absl::Time Now() const override ABSL_LOCKS_EXCLUDED(mutex_);
  bool AwaitUntil(Mutex& mutex, const absl::Condition& condition, absl::Time deadline) override
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Never backwards. Must not be called with a mutex held that someone awaits with.
  void Advance(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetTime(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks until `count` callers wait in AwaitUntil: a test then knows that its subject is asleep.
  void AwaitWaiters(int count) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Lock order: waiter.mutex, then the caller's mutex, then mutex_.
  struct Waiter;

  void Wake(const std::vector<std::shared_ptr<Waiter>>& waiters);

  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Waiter>> waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_CLOCK_H_
