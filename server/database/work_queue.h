// How requests reach the database's threads.
#ifndef SOTTO_SERVER_DATABASE_WORK_QUEUE_H_
#define SOTTO_SERVER_DATABASE_WORK_QUEUE_H_

#include <functional>

#include "absl/status/status.h"
#include "server/database/transaction.h"

namespace sotto::database {

// A request: everything that it does is one atomic change (a write), or sees one snapshot (a read).
// It hands results out through what it captures; they hold only once `done` has got OK.
using Work = std::function<absl::Status(Transaction&)>;
// Gets the request's outcome, once.
using Done = std::function<void(absl::Status)>;

// Thread-safe. A request must not wait for another request.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;

  // Queues a write. Writes run one after the other, in the order of their submission, and see each
  // other's effects. When `work` returns an error, what it wrote is undone and `done` gets that
  // error. Otherwise `done` runs on the writer's thread after the COMMIT that made it durable, or
  // gets that COMMIT's error (UNAVAILABLE when the disk is full): then nothing of it remains.
  // `done` must not block. After Stop: `done` gets UNAVAILABLE, on the calling thread.
  virtual void Submit(Work work, Done done) = 0;

  // Queues a read, for a reader's thread; it sees everything that was committed before it starts.
  // Writing statements give FAILED_PRECONDITION.
  virtual void Read(Work work, Done done) = 0;

  // The same, waiting for the outcome. Not on a thread of the database (callbacks): that would
  // never end.
  absl::Status SubmitAndWait(Work work);
  absl::Status ReadAndWait(Work work);
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_WORK_QUEUE_H_
