#include "server/database/migrate.h"

#include <cstdint>
#include <functional>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::database {
namespace {

// "Sott", so that file(1) and we know our files.
constexpr int64_t kApplicationId = 0x536f7474;

absl::Status InTransaction(Connection& connection, const std::function<absl::Status()>& work) {
  RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  absl::Status status = work();
  if (status.ok()) status = connection.Execute("COMMIT");
  if (!status.ok() && connection.InTransaction()) {
    connection.Execute("ROLLBACK").IgnoreError();  // The first error is the one to report.
  }
  return status;
}

absl::Status ClaimFile(Connection& connection) {
  ASSIGN_OR_RETURN(const std::vector<Row> id, connection.Query("PRAGMA application_id", {}));
  if (id[0][0].int64() == kApplicationId) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Row> tables,
                   connection.Query("SELECT count(*) FROM sqlite_schema", {}));
  if (id[0][0].int64() != 0 || tables[0][0].int64() != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the database belongs to another program (application id ", id[0][0].int64(),
                     "); choose another state directory"));
  }
  return InTransaction(connection, [&connection] {
    return connection.RunScript(
        absl::StrCat("PRAGMA application_id = ", kApplicationId,
                     "; CREATE TABLE schema_versions (component TEXT PRIMARY KEY, "
                     "version INTEGER NOT NULL) STRICT;"));
  });
}

absl::StatusOr<int64_t> VersionOf(Connection& connection, const std::string& component) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Query("SELECT version FROM schema_versions WHERE component = ?1", {component}));
  return rows.empty() ? 0 : rows[0][0].int64();
}

absl::Status MigrateComponent(Connection& connection, const Schema& schema) {
  ASSIGN_OR_RETURN(const int64_t stored, VersionOf(connection, schema.component));
  const auto known = static_cast<int64_t>(schema.migrations.size());
  if (stored > known) {
    return absl::FailedPreconditionError(
        absl::StrCat("the database's tables of ", schema.component, " have version ", stored,
                     ", but this program knows only up to ", known, "; use a newer version"));
  }
  for (int64_t version = stored + 1; version <= known; ++version) {
    RETURN_IF_ERROR(InTransaction(connection, [&]() -> absl::Status {
      RETURN_IF_ERROR(connection.RunScript(schema.migrations[version - 1]));
      return connection.Execute(
          "INSERT INTO schema_versions (component, version) VALUES (?1, ?2) "
          "ON CONFLICT (component) DO UPDATE SET version = excluded.version",
          {schema.component, version});
    }));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Migrate(Connection& connection, const std::vector<Schema>& schemas) {
  RETURN_IF_ERROR(ClaimFile(connection));
  for (const Schema& schema : schemas) RETURN_IF_ERROR(MigrateComponent(connection, schema));
  return absl::OkStatus();
}

}  // namespace sotto::database
