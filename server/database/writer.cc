#include "server/database/writer.h"

#include <utility>

#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "server/database/connection_transaction.h"

namespace sotto::database {
namespace {

// Copies of a Status share their contents, counted inside Abseil, whose library ThreadSanitizer
// does not see. Requests of several threads get one each.
absl::Status UnsharedCopy(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

}  // namespace

Writer::Writer(std::unique_ptr<Connection> connection, int max_group)
    : connection_(std::move(connection)), max_group_(max_group), thread_([this] { Run(); }) {}

Writer::~Writer() { Stop(); }

void Writer::Stop() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

void Writer::Run() {
  while (true) {
    std::vector<Request> requests = queue_.Take(max_group_);
    if (requests.empty()) return;
    for (size_t next = 0; next < requests.size();) CommitGroup(requests, next);
  }
}

void Writer::CommitGroup(std::vector<Request>& requests, size_t& next) {
  if (absl::Status begun = connection_->Execute("BEGIN IMMEDIATE"); !begun.ok()) {
    requests[next++].done(begun);
    return;
  }
  std::vector<Finished> finished;
  bool is_open = true;
  while (next < requests.size() && is_open) {
    finished.push_back(RunInSavepoint(std::move(requests[next++])));
    is_open = connection_->InTransaction();
  }
  const absl::Status outcome = is_open ? Commit() : UnsharedCopy(finished.back().status);
  for (Finished& request : finished) {
    if (request.status.ok() && outcome.ok()) {
      for (const std::function<void()>& callback : request.after_commit) callback();
    }
    if (request.status.ok()) request.status = UnsharedCopy(outcome);
    request.done(std::move(request.status));
  }
}

Writer::Finished Writer::RunInSavepoint(Request request) {
  ConnectionTransaction transaction(*connection_);
  absl::Status status = [&]() -> absl::Status {
    RETURN_IF_ERROR(connection_->Execute("SAVEPOINT request"));
    const absl::Status worked = request.work(transaction);
    if (!connection_->InTransaction()) {
      if (!worked.ok()) return worked;
      return absl::UnavailableError("database: a failed statement ended the transaction");
    }
    if (!worked.ok()) RETURN_IF_ERROR(connection_->Execute("ROLLBACK TO request"));
    RETURN_IF_ERROR(connection_->Execute("RELEASE request"));
    return worked;
  }();
  return {std::move(request.done), std::move(status), transaction.TakeCallbacks()};
}

absl::Status Writer::Commit() {
  const absl::Status committed = connection_->Execute("COMMIT");
  if (committed.ok()) return committed;
  SOTTO_LOG(ERROR) << "commit failed, nothing of its requests is kept: " << committed;
  if (connection_->InTransaction()) {
    const absl::Status rolled_back = connection_->Execute("ROLLBACK");
    if (!rolled_back.ok()) SOTTO_LOG(ERROR) << "rollback failed: " << rolled_back;
  }
  return committed;
}

}  // namespace sotto::database
