#include "server/database/testing/test_database.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace sotto::database {
namespace {

std::string MakeFolder() {
  const char* base = std::getenv("TEST_TMPDIR");
  absl::StatusOr<std::string> folder =
      MakeTempDir(std::string(base == nullptr ? "/tmp" : base) + "/sotto-db-");
  SOTTO_CHECK(folder.ok()) << folder.status();
  return *folder;
}

}  // namespace

TestDatabase::TestDatabase(std::vector<Schema> schemas)
    : folder_(MakeFolder()), schemas_(std::move(schemas)) {
  Reopen();
}

TestDatabase::~TestDatabase() {
  Close();
  std::filesystem::remove_all(folder_);
}

void TestDatabase::Reopen() {
  const absl::Status status = TryReopen();
  SOTTO_CHECK(status.ok()) << status;
}

absl::Status TestDatabase::TryReopen() {
  Close();
  Database::Options options;
  options.path = path();
  options.schemas = schemas_;
  ASSIGN_OR_RETURN(database_, Database::Open(std::move(options)));
  return absl::OkStatus();
}

}  // namespace sotto::database
