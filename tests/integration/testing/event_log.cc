#include "tests/integration/testing/event_log.h"

#include <algorithm>
#include <utility>

#include "gtest/gtest.h"

namespace sotto::integration {

EventLog::EventLog(const std::string& address, std::string job)
    : client_(address), thread_([this, job = std::move(job)] {
        absl::Status status = client_.Watch(job, 0, [this](const v1::JobEvent& event) {
          MutexLock lock(mutex_);
          events_.push_back(event);
          return true;
        });
        MutexLock lock(mutex_);
        status_ = std::move(status);
        over_ = true;
      }) {}

EventLog::~EventLog() {
  if (thread_.joinable()) thread_.join();
}

bool EventLog::Await(const std::function<bool(const v1::JobEvent&)>& matches,
                     absl::Duration timeout) {
  const auto seen = [&] { return over_ || std::any_of(events_.begin(), events_.end(), matches); };
  MutexLock lock(mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&seen), timeout);
  return std::any_of(events_.begin(), events_.end(), matches);
}

bool EventLog::AwaitStep(int64_t step, int64_t attempt) {
  return Await([=](const v1::JobEvent& event) {
    return event.has_step() && event.step().step() >= step && event.step().attempt() >= attempt;
  });
}

std::vector<v1::JobEvent> EventLog::Finish() {
  const auto over = [this] { return over_; };
  MutexLock lock(mutex_);
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&over), absl::Minutes(4)));
  EXPECT_TRUE(status_.ok()) << status_;
  return events_;
}

}  // namespace sotto::integration
