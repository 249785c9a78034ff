#include "common/base/clock.h"

#include <gtest/gtest.h>

#include <thread>  // NOLINT: tests of blocking code.

namespace sotto {
namespace {

struct Flag {
  Mutex mutex;
  bool is_set ABSL_GUARDED_BY(mutex) = false;

  void Set() {
    MutexLock lock(&mutex);
    is_set = true;
  }
};

TEST(SimulatedClockTest, DeadlinePassesOnlyWhenTheClockMoves) {
  SimulatedClock clock;
  Flag flag;
  const absl::Time start = clock.Now();
  bool was_set = true;
  std::thread waiter([&] {
    MutexLock lock(&flag.mutex);
    was_set =
        clock.AwaitUntil(flag.mutex, absl::Condition(&flag.is_set), start + absl::Seconds(10));
  });
  clock.AwaitWaiters(1);
  clock.Advance(absl::Seconds(9));
  clock.AwaitWaiters(1);
  clock.Advance(absl::Seconds(1));
  waiter.join();
  EXPECT_FALSE(was_set);
  EXPECT_EQ(clock.Now(), start + absl::Seconds(10));
}

TEST(SimulatedClockTest, ConditionEndsTheWaitBeforeTheDeadline) {
  SimulatedClock clock;
  Flag flag;
  bool was_set = false;
  std::thread waiter([&] {
    MutexLock lock(&flag.mutex);
    was_set = clock.AwaitFor(flag.mutex, absl::Condition(&flag.is_set), absl::Hours(1));
  });
  clock.AwaitWaiters(1);
  flag.Set();
  waiter.join();
  EXPECT_TRUE(was_set);
}

TEST(SimulatedClockTest, PastDeadlineReturnsAtOnce) {
  SimulatedClock clock;
  Flag flag;
  MutexLock lock(&flag.mutex);
  EXPECT_FALSE(clock.AwaitUntil(flag.mutex, absl::Condition(&flag.is_set), clock.Now()));
}

TEST(SimulatedClockTest, NeverMovesBackwards) {
  SimulatedClock clock;
  const absl::Time start = clock.Now();
  clock.SetTime(start - absl::Seconds(1));
  EXPECT_EQ(clock.Now(), start);
}

TEST(SimulatedClockTest, ManyWaitersAreAllWoken) {
  SimulatedClock clock;
  std::vector<std::thread> waiters;
  for (int i = 1; i <= 8; ++i) {
    waiters.emplace_back([&clock, i] {
      Flag flag;  // Destroyed while others still wait.
      MutexLock lock(&flag.mutex);
      EXPECT_FALSE(clock.AwaitFor(flag.mutex, absl::Condition(&flag.is_set), absl::Seconds(i)));
    });
  }
  clock.AwaitWaiters(8);
  for (int i = 1; i <= 8; ++i) clock.Advance(absl::Seconds(1));
  for (std::thread& waiter : waiters) waiter.join();
}

TEST(RealClockTest, ConditionEndsTheWait) {
  Flag flag;
  std::thread setter([&] { flag.Set(); });
  {
    MutexLock lock(&flag.mutex);
    EXPECT_TRUE(
        RealClock::Get().AwaitFor(flag.mutex, absl::Condition(&flag.is_set), absl::Minutes(1)));
  }
  setter.join();
}

TEST(MutexTest, ScopedLockWaitsForItsCondition) {
  Flag flag;
  std::thread setter([&] { flag.Set(); });
  {
    MutexLock lock(&flag.mutex, absl::Condition(&flag.is_set));
    EXPECT_TRUE(flag.is_set);
  }
  setter.join();
}

}  // namespace
}  // namespace sotto
