// The only thread that writes to the database.
#ifndef SOTTO_SERVER_DATABASE_WRITER_H_
#define SOTTO_SERVER_DATABASE_WRITER_H_

#include <functional>
#include <memory>
#include <thread>  // NOLINT: no project wrapper.
#include <vector>

#include "server/database/connection.h"
#include "server/database/request_queue.h"

namespace sotto::database {

// Group commit: whatever is queued shares one transaction and one fsync, a savepoint each
// (database.h tells the steps). Thread-safe.
class Writer {
 public:
  Writer(std::unique_ptr<Connection> connection, int max_group);
  ~Writer();

  void Submit(Work work, Done done) { queue_.Push({std::move(work), std::move(done)}); }

  // Finishes what is queued and joins. Idempotent; from one thread.
  void Stop();

 private:
  // A request that has run in the open transaction and waits for its end.
  struct Finished {
    Done done;
    absl::Status status;  // of its work
    std::vector<std::function<void()>> after_commit;
  };

  void Run();
  // Runs requests[next..] in one transaction and answers those that ran; advances `next`. Ends
  // early when an error took the whole transaction with it: the rest then gets a transaction of its
  // own.
  void CommitGroup(std::vector<Request>& requests, size_t& next);
  Finished RunInSavepoint(Request request);
  absl::Status Commit();

  const std::unique_ptr<Connection> connection_;  // writer's thread only
  const int max_group_;
  RequestQueue queue_;
  std::thread thread_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_WRITER_H_
