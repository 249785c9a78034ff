// A Transaction on a connection.
#ifndef SOTTO_SERVER_DATABASE_CONNECTION_TRANSACTION_H_
#define SOTTO_SERVER_DATABASE_CONNECTION_TRANSACTION_H_

#include <functional>
#include <utility>
#include <vector>

#include "server/database/connection.h"
#include "server/database/transaction.h"

namespace sotto::database {

// For one request, between the owner's BEGIN and COMMIT. The owner runs the callbacks.
class ConnectionTransaction : public Transaction {
 public:
  explicit ConnectionTransaction(Connection& connection) : connection_(connection) {}

  using Transaction::Execute;
  using Transaction::Query;
  absl::Status Execute(absl::string_view sql, const std::vector<Value>& parameters) override {
    return connection_.Execute(sql, parameters);
  }
  absl::StatusOr<std::vector<Row>> Query(absl::string_view sql,
                                         const std::vector<Value>& parameters) override {
    return connection_.Query(sql, parameters);
  }
  void AfterCommit(std::function<void()> callback) override {
    callbacks_.push_back(std::move(callback));
  }

  std::vector<std::function<void()>> TakeCallbacks() { return std::move(callbacks_); }

 private:
  Connection& connection_;
  std::vector<std::function<void()>> callbacks_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_CONNECTION_TRANSACTION_H_
