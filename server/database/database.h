// The coordinator's embedded database: SQLite in WAL mode, synchronous=FULL, one writer and a pool
// of readers.
#ifndef SOTTO_SERVER_DATABASE_DATABASE_H_
#define SOTTO_SERVER_DATABASE_DATABASE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/database/schema.h"
#include "server/database/work_queue.h"

namespace sotto::database {

class ReaderPool;
class Writer;

// Thread-safe. The life of a write:
// 1. Submit queues it. 2. The writer takes everything queued (up to a limit) and opens one
// transaction. 3. Each request runs in a savepoint of its own; one that fails is rolled back to it,
// alone. 4. One COMMIT, one fsync, for all.
// 5. AfterCommit callbacks, then `done`, request by request.
class Database : public WorkQueue {
 public:
  struct Options {
    std::string path;             // of the file, in a claimed StateDirectory
    std::vector<Schema> schemas;  // of all components
    int num_readers = 2;
    int max_group = 256;  // requests in one commit at most
  };

  // Creates or opens the file, checks it, and migrates the schemas, each migration in a transaction
  // of its own. DATA_LOSS: not a database, or corrupt. FAILED_PRECONDITION: read-only, another
  // program's, or written by a newer version of us. UNAVAILABLE: disk full or failing.
  static absl::StatusOr<std::unique_ptr<Database>> Open(Options options);

  // As Stop.
  ~Database() override;

  void Submit(Work work, Done done) override;
  void Read(Work work, Done done) override;

  // Refuses new requests, finishes those queued, joins the threads. Idempotent.
  void Stop();

 private:
  Database(std::unique_ptr<Writer> writer, std::unique_ptr<ReaderPool> readers);

  std::unique_ptr<Writer> writer_;
  std::unique_ptr<ReaderPool> readers_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_DATABASE_H_
