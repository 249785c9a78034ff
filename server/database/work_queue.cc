#include "server/database/work_queue.h"

#include <future>
#include <utility>

namespace sotto::database {
namespace {

// The promise outlives the callback: the waiter may return and unwind while set_value is still at
// work.
std::pair<Done, std::future<absl::Status>> MakeWaiter() {
  auto promise = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> future = promise->get_future();
  return {[promise](absl::Status status) { promise->set_value(std::move(status)); },
          std::move(future)};
}

}  // namespace

absl::Status WorkQueue::SubmitAndWait(Work work) {
  auto [done, outcome] = MakeWaiter();
  Submit(std::move(work), std::move(done));
  return outcome.get();
}

absl::Status WorkQueue::ReadAndWait(Work work) {
  auto [done, outcome] = MakeWaiter();
  Read(std::move(work), std::move(done));
  return outcome.get();
}

}  // namespace sotto::database
