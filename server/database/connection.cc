#include "server/database/connection.h"

#include <sqlite3.h>

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::database {
namespace {

absl::StatusCode CodeOf(int result) {
  switch (result) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return absl::StatusCode::kAlreadyExists;
  }
  switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
      return absl::StatusCode::kUnavailable;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

// What an operator can do about it.
absl::string_view AdviceOf(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
      return "; the disk of the state directory is full: free space and try again";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "; the file is damaged: restore it from a backup";
    default:
      return "";
  }
}

struct Binder {
  sqlite3_stmt* statement;
  int index;
  int operator()(std::monostate) const { return sqlite3_bind_null(statement, index); }
  int operator()(int64_t value) const { return sqlite3_bind_int64(statement, index, value); }
  int operator()(double value) const { return sqlite3_bind_double(statement, index, value); }
  // The caller's parameters outlive the statement's run, so nothing is copied.
  int operator()(const std::string& text) const {
    return sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_STATIC,
                               SQLITE_UTF8);
  }
  int operator()(const Blob& blob) const {
    if (blob.bytes.empty()) return sqlite3_bind_zeroblob(statement, index, 0);
    return sqlite3_bind_blob64(statement, index, blob.bytes.data(), blob.bytes.size(),
                               SQLITE_STATIC);
  }
};

std::string BytesOfColumn(sqlite3_stmt* statement, int column) {
  const void* data = sqlite3_column_blob(statement, column);
  const int size = sqlite3_column_bytes(statement, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

Value ColumnOf(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return Value(int64_t{sqlite3_column_int64(statement, column)});
    case SQLITE_FLOAT:
      return Value(sqlite3_column_double(statement, column));
    case SQLITE_TEXT:
      return Value(BytesOfColumn(statement, column));
    case SQLITE_BLOB:
      return Value(Blob{BytesOfColumn(statement, column)});
    default:
      return Value();
  }
}

// Makes a prepared statement ready for its next use, and gives its locks up, on every path.
class StatementReset {
 public:
  explicit StatementReset(sqlite3_stmt* statement) : statement_(statement) {}
  ~StatementReset() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

 private:
  sqlite3_stmt* const statement_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& path,
                                                             Access access) {
  // NOMUTEX: each connection belongs to one thread. SQLite opens its files with O_CLOEXEC.
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (access == Access::kReadOnly ? SQLITE_OPEN_READONLY
                                                 : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  sqlite3* db = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &db, flags, /*zVfs=*/nullptr);
  auto connection = absl::WrapUnique(new Connection(db));  // Also on errors, to be closed.
  if (result != SQLITE_OK) return connection->ErrorOf(result, absl::StrCat("open ", path));
  RETURN_IF_ERROR(connection->Configure(access));
  return connection;
}

absl::Status Connection::Configure(Access access) {
  sqlite3_busy_timeout(db_, /*ms=*/5000);
  if (access == Access::kReadOnly) return RunScript("PRAGMA query_only = ON");
  if (sqlite3_db_readonly(db_, "main") == 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the database ", sqlite3_db_filename(db_, "main"), " is read-only"));
  }
  ASSIGN_OR_RETURN(const std::vector<Row> mode, Query("PRAGMA journal_mode = WAL", {}));
  if (mode.size() != 1 || mode[0][0].text() != "wal") {
    return absl::FailedPreconditionError("the file system does not support SQLite's WAL mode");
  }
  return RunScript(
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
      "PRAGMA journal_size_limit = 67108864;");
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

absl::Status Connection::ErrorOf(int result, absl::string_view doing) const {
  const char* detail = db_ == nullptr ? sqlite3_errstr(result) : sqlite3_errmsg(db_);
  return absl::Status(CodeOf(result), absl::StrCat("database: cannot ", doing, ": ", detail,
                                                   " (SQLite ", result, ")", AdviceOf(result)));
}

absl::StatusOr<sqlite3_stmt*> Connection::Prepare(absl::string_view sql) {
  std::string text(sql);
  const auto found = statements_.find(text);
  if (found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v3(db_, text.data(), static_cast<int>(text.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, /*pzTail=*/nullptr);
  if (result != SQLITE_OK) return ErrorOf(result, absl::StrCat("prepare '", sql, "'"));
  if (statement == nullptr) return absl::InternalError("database: empty statement");
  statements_.emplace(std::move(text), statement);
  return statement;
}

absl::StatusOr<std::vector<Row>> Connection::Query(absl::string_view sql,
                                                   const std::vector<Value>& parameters) {
  ASSIGN_OR_RETURN(sqlite3_stmt* const statement, Prepare(sql));
  const StatementReset reset(statement);
  if (sqlite3_bind_parameter_count(statement) != static_cast<int>(parameters.size())) {
    return absl::InternalError(
        absl::StrCat("database: ", parameters.size(), " parameters given to '", sql, "'"));
  }
  for (int i = 0; i < static_cast<int>(parameters.size()); ++i) {
    const int result = std::visit(Binder{statement, i + 1}, parameters[i].variant());
    if (result != SQLITE_OK) return ErrorOf(result, absl::StrCat("bind to '", sql, "'"));
  }
  std::vector<Row> rows;
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    Row row;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) row.push_back(ColumnOf(statement, i));
    rows.push_back(std::move(row));
  }
  if (result != SQLITE_DONE) return ErrorOf(result, absl::StrCat("run '", sql, "'"));
  return rows;
}

absl::Status Connection::Execute(absl::string_view sql, const std::vector<Value>& parameters) {
  return Query(sql, parameters).status();
}

absl::Status Connection::RunScript(const std::string& sql) {
  const int result = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? absl::OkStatus() : ErrorOf(result, "run a script");
}

bool Connection::InTransaction() const { return sqlite3_get_autocommit(db_) == 0; }

}  // namespace sotto::database
