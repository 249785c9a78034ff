// Requests on their way to a thread of the database.
#ifndef SOTTO_SERVER_DATABASE_REQUEST_QUEUE_H_
#define SOTTO_SERVER_DATABASE_REQUEST_QUEUE_H_

#include <deque>
#include <vector>

#include "common/base/mutex.h"
#include "server/database/work_queue.h"

namespace sotto::database {

struct Request {
  Work work;
  Done done;
};

// First in, first out. Thread-safe.
class RequestQueue {
 public:
  // After Close: answers UNAVAILABLE itself.
  void Push(Request request) ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits for requests and takes up to `limit`. Empty: closed, and nothing is left.
  std::vector<Request> Take(int limit) ABSL_LOCKS_EXCLUDED(mutex_);

  // Refuses new requests; those queued are still handed out. Idempotent.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Mutex mutex_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mutex_);
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_REQUEST_QUEUE_H_
