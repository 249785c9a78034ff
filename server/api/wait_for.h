// Waits for an asynchronous answer, on a thread that may block (a TaskThread, never gRPC's or the
// database's).
#ifndef SOTTO_SERVER_API_WAIT_FOR_H_
#define SOTTO_SERVER_API_WAIT_FOR_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/mutex.h"

namespace sotto::api {

// Calls `start` with a callback for the answer, and gives the answer. T is a Status or StatusOr.
template <typename T>
T WaitFor(const std::function<void(std::function<void(T)>)>& start) {
  struct Slot {
    Mutex mutex;
    std::optional<T> answer;
  };
  // Shared: the callback may still hold the mutex when this function returns.
  auto slot = std::make_shared<Slot>();
  start([slot](T answer) {
    MutexLock lock(&slot->mutex);
    slot->answer = std::move(answer);
  });
  auto has_answer = [&slot]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return slot->answer.has_value(); };
  MutexLock lock(&slot->mutex, absl::Condition(&has_answer));
  return *std::move(slot->answer);
}

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_WAIT_FOR_H_
