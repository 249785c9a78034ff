// One connection to a SQLite file.
#ifndef SOTTO_SERVER_DATABASE_CONNECTION_H_
#define SOTTO_SERVER_DATABASE_CONNECTION_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/database/value.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sotto::database {

// Owns the connection and its prepared statements. Not thread-safe. Error codes as in
// transaction.h.
class Connection {
 public:
  // kReadWrite creates the file when it is missing and makes every COMMIT durable before it returns
  // (WAL, synchronous=FULL). kReadOnly needs the file, and a kReadWrite connection that has set it
  // up.
  enum class Access { kReadWrite, kReadOnly };
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& path, Access access);

  ~Connection();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs one statement with parameters and gives its rows. The statement stays prepared: use bound
  // parameters, never values in the text.
  absl::StatusOr<std::vector<Row>> Query(absl::string_view sql,
                                         const std::vector<Value>& parameters);
  absl::Status Execute(absl::string_view sql, const std::vector<Value>& parameters = {});

  // Runs a script of statements without parameters.
  absl::Status RunScript(const std::string& sql);

  // Some errors (disk full, I/O) end the whole transaction: this tells.
  bool InTransaction() const;

 private:
  explicit Connection(sqlite3* db) : db_(db) {}

  absl::Status Configure(Access access);
  absl::StatusOr<sqlite3_stmt*> Prepare(absl::string_view sql);
  absl::Status ErrorOf(int result, absl::string_view doing) const;

  sqlite3* const db_;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_CONNECTION_H_
