#include "server/database/reader_pool.h"

#include "common/base/status_macros.h"
#include "server/database/connection_transaction.h"

namespace sotto::database {
namespace {

absl::Status RunInSnapshot(Connection& connection, const Work& work) {
  RETURN_IF_ERROR(connection.Execute("BEGIN"));
  ConnectionTransaction transaction(connection);
  const absl::Status status = work(transaction);
  if (connection.InTransaction()) {
    // Nothing was written, so that both ends are the same; a failure leaves the next BEGIN to fail.
    const absl::Status ended = connection.Execute("ROLLBACK");
    if (status.ok()) return ended;
  }
  return status;
}

}  // namespace

ReaderPool::ReaderPool(std::vector<std::unique_ptr<Connection>> connections)
    : connections_(std::move(connections)) {
  for (const std::unique_ptr<Connection>& connection : connections_) {
    threads_.emplace_back([this, &connection] { Run(*connection); });
  }
}

ReaderPool::~ReaderPool() { Stop(); }

void ReaderPool::Stop() {
  queue_.Close();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ReaderPool::Run(Connection& connection) {
  while (true) {
    std::vector<Request> requests = queue_.Take(/*limit=*/1);
    if (requests.empty()) return;
    absl::Status status = RunInSnapshot(connection, requests[0].work);
    requests[0].work = nullptr;
    requests[0].done(std::move(status));
  }
}

}  // namespace sotto::database
