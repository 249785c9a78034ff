// A watcher that keeps what it saw, on a thread of its own.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_EVENT_LOG_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_EVENT_LOG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/job.pb.h"
#include "tests/integration/testing/service_client.h"

namespace sotto::integration {

// Thread-safe. Watches from the first event to the job's end, also over restarts of the
// coordinator.
class EventLog {
 public:
  EventLog(const std::string& address, std::string job);
  ~EventLog();  // Waits for the end of the watch.

  // Waits until an event matches; false: none did in time. Events of the past count.
  bool Await(const std::function<bool(const v1::JobEvent&)>& matches,
             absl::Duration timeout = absl::Seconds(120));
  // A report of this step or a later one of this attempt or a later one.
  bool AwaitStep(int64_t step, int64_t attempt = 1);

  // Waits for the end, and gives everything; fails the test when the watch did not end well.
  std::vector<v1::JobEvent> Finish();

 private:
  ServiceClient client_;
  Mutex mutex_;
  std::vector<v1::JobEvent> events_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_EVENT_LOG_H_
