// Requests that answer with a value.
#ifndef SOTTO_SERVER_DATABASE_READ_VALUE_H_
#define SOTTO_SERVER_DATABASE_READ_VALUE_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/status_macros.h"
#include "server/database/work_queue.h"

namespace sotto::database {
namespace read_value_internal {

template <typename T>
std::pair<Work, Done> Split(std::function<absl::StatusOr<T>(Transaction&)> work,
                            std::function<void(absl::StatusOr<T>)> done) {
  auto value = std::make_shared<std::unique_ptr<T>>();
  return {[value, work = std::move(work)](Transaction& transaction) -> absl::Status {
            ASSIGN_OR_RETURN(T result, work(transaction));
            *value = std::make_unique<T>(std::move(result));
            return absl::OkStatus();
          },
          [value, done = std::move(done)](absl::Status status) {
            if (!status.ok()) return done(std::move(status));
            done(std::move(**value));
          }};
}

}  // namespace read_value_internal

// WorkQueue::Read; `done` gets what `work` returned, or the error.
template <typename T>
void ReadValue(WorkQueue& queue, std::function<absl::StatusOr<T>(Transaction&)> work,
               std::function<void(absl::StatusOr<T>)> done) {
  auto [value_work, value_done] = read_value_internal::Split<T>(std::move(work), std::move(done));
  queue.Read(std::move(value_work), std::move(value_done));
}

// WorkQueue::Submit; `done` gets what `work` returned, after the commit, or the error.
template <typename T>
void SubmitValue(WorkQueue& queue, std::function<absl::StatusOr<T>(Transaction&)> work,
                 std::function<void(absl::StatusOr<T>)> done) {
  auto [value_work, value_done] = read_value_internal::Split<T>(std::move(work), std::move(done));
  queue.Submit(std::move(value_work), std::move(value_done));
}

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_READ_VALUE_H_
