#include "common/base/clock.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace sotto {

RealClock& RealClock::Get() {
  static RealClock clock;
  return clock;
}

absl::Time RealClock::Now() const { return absl::Now(); }

bool RealClock::AwaitUntil(Mutex& mutex, const absl::Condition& condition, absl::Time deadline) {
  return mutex.AwaitWithDeadline(condition, deadline);
}

struct SimulatedClock::Waiter {
  Mutex mutex;
  // The caller's mutex; null once the caller has stopped waiting and may destroy it.
  Mutex* awaited ABSL_GUARDED_BY(mutex) = nullptr;
};

absl::Time SimulatedClock::Now() const {
  MutexLock lock(&mutex_);
  return now_;
}

bool SimulatedClock::AwaitUntil(Mutex& mutex, const absl::Condition& condition,
                                absl::Time deadline) {
  while (true) {
    if (condition.Eval()) return true;
    if (Now() >= deadline) return false;

    auto waiter = std::make_shared<Waiter>();
    waiter->awaited = &mutex;
    {
      MutexLock lock(&mutex_);
      waiters_.push_back(waiter);
    }
    // An Advance after the push touches `mutex`; one before it is seen by the first evaluation.
    auto is_over = [this, &condition, deadline] { return condition.Eval() || Now() >= deadline; };
    mutex.Await(absl::Condition(&is_over));

    // Wake() locks in the other order, so `mutex` is given up before the waiter is taken out.
    mutex.Unlock();
    {
      MutexLock lock(&waiter->mutex);
      waiter->awaited = nullptr;
    }
    {
      MutexLock lock(&mutex_);
      waiters_.erase(std::find(waiters_.begin(), waiters_.end(), waiter));
    }
    mutex.Lock();
  }
}

void SimulatedClock::Advance(absl::Duration duration) { SetTime(Now() + duration); }

void SimulatedClock::SetTime(absl::Time now) {
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    MutexLock lock(&mutex_);
    now_ = std::max(now_, now);
    waiters = waiters_;
  }
  Wake(waiters);
}

void SimulatedClock::Wake(const std::vector<std::shared_ptr<Waiter>>& waiters) {
  for (const std::shared_ptr<Waiter>& waiter : waiters) {
    MutexLock lock(&waiter->mutex);
    if (waiter->awaited == nullptr) continue;
    // Unlocking makes the mutex evaluate its waiters' conditions.
    MutexLock awaited(waiter->awaited);
  }
}

void SimulatedClock::AwaitWaiters(int count) {
  auto has_enough = [this, count] { return static_cast<int>(waiters_.size()) >= count; };
  MutexLock lock(&mutex_, absl::Condition(&has_enough));
}

}  // namespace sotto
