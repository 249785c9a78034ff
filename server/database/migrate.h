// Brings a database's tables to this version.
#ifndef SOTTO_SERVER_DATABASE_MIGRATE_H_
#define SOTTO_SERVER_DATABASE_MIGRATE_H_

#include <vector>

#include "absl/status/status.h"
#include "server/database/connection.h"
#include "server/database/schema.h"

namespace sotto::database {

// Runs the migrations that are missing, each in a transaction together with its version number, so
// that an interrupted migration goes on where it was. FAILED_PRECONDITION: another program's
// database, or a component's version is newer than `schemas` knows.
absl::Status Migrate(Connection& connection, const std::vector<Schema>& schemas);

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_MIGRATE_H_
