// A real database in a folder of its own, for tests.
#ifndef SOTTO_SERVER_DATABASE_TESTING_TEST_DATABASE_H_
#define SOTTO_SERVER_DATABASE_TESTING_TEST_DATABASE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/database/database.h"
#include "server/database/schema.h"

namespace sotto::database {

// Makes the folder and opens the database; removes the folder at the end. Failures end the process:
// a test has nothing to say then.
class TestDatabase {
 public:
  explicit TestDatabase(std::vector<Schema> schemas);
  ~TestDatabase();

  Database& operator*() { return *database_; }
  Database* operator->() { return database_.get(); }

  // Stops and opens again, as a coordinator that was restarted.
  void Reopen();
  absl::Status TryReopen();
  void Close() { database_ = nullptr; }

  const std::string& folder() const { return folder_; }
  std::string path() const { return folder_ + "/sotto.db"; }

 private:
  const std::string folder_;
  const std::vector<Schema> schemas_;
  std::unique_ptr<Database> database_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_TESTING_TEST_DATABASE_H_
