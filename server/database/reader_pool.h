// Threads that read the database.
#ifndef SOTTO_SERVER_DATABASE_READER_POOL_H_
#define SOTTO_SERVER_DATABASE_READER_POOL_H_

#include <memory>
#include <thread>  // NOLINT: no project wrapper.
#include <utility>
#include <vector>

#include "server/database/connection.h"
#include "server/database/request_queue.h"

namespace sotto::database {

// One thread and one read-only connection per reader; a short transaction per request, which sees
// one snapshot. Thread-safe.
class ReaderPool {
 public:
  explicit ReaderPool(std::vector<std::unique_ptr<Connection>> connections);
  ~ReaderPool();

  void Read(Work work, Done done) { queue_.Push({std::move(work), std::move(done)}); }

  // Finishes what is queued and joins. Idempotent; from one thread.
  void Stop();

 private:
  void Run(Connection& connection);

  const std::vector<std::unique_ptr<Connection>> connections_;  // each for its own thread only
  RequestQueue queue_;
  std::vector<std::thread> threads_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_READER_POOL_H_
