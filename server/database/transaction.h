// What stores see of the database while a request runs: statements inside one transaction.
#ifndef SOTTO_SERVER_DATABASE_TRANSACTION_H_
#define SOTTO_SERVER_DATABASE_TRANSACTION_H_

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/database/value.h"

namespace sotto::database {

// Valid only during the call that received it, on that thread. Parameters are bound to ?1, ?2, ...
// in order.
//
// Errors of both statements: ALREADY_EXISTS when a unique key is taken, DATA_LOSS when the file is
// corrupt, UNAVAILABLE when the disk is full or fails, FAILED_PRECONDITION for a write to a
// read-only database, INTERNAL for a wrong statement. What a failed statement wrote is undone by
// then; earlier statements of the request stand until it ends.
class Transaction {
 public:
  virtual ~Transaction() = default;

  // Runs one statement that gives no rows, or whose rows do not matter.
  virtual absl::Status Execute(absl::string_view sql, const std::vector<Value>& parameters) = 0;
  absl::Status Execute(absl::string_view sql) { return Execute(sql, {}); }

  // Runs one statement and gives all of its rows.
  virtual absl::StatusOr<std::vector<Row>> Query(absl::string_view sql,
                                                 const std::vector<Value>& parameters) = 0;
  absl::StatusOr<std::vector<Row>> Query(absl::string_view sql) { return Query(sql, {}); }

  // Runs `callback` on the writer's thread after this request has been committed and before its
  // `done`; never when the request or the commit fails. It must not block.
  virtual void AfterCommit(std::function<void()> callback) = 0;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_TRANSACTION_H_
