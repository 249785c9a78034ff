// The coordinator's store and ledger on one database, as the tests here use them.
#ifndef SOTTO_TESTS_DURABILITY_STATE_H_
#define SOTTO_TESTS_DURABILITY_STATE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/database/database.h"
#include "server/database/state_directory.h"
#include "server/ledger/sqlite_ledger.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::durability {

struct State {
  std::unique_ptr<database::StateDirectory> directory;
  std::unique_ptr<database::Database> database;
  std::unique_ptr<store::SqliteJobStore> store;
  ledger::SqliteLedger ledger;

  ~State() {
    if (database != nullptr) database->Stop();  // Before what its callbacks use.
  }
};

// Claims the folder and opens everything, as the coordinator does.
absl::StatusOr<std::unique_ptr<State>> OpenState(const std::string& folder);

// Does the state hold together? The chain verifies, events are dense, every grant has its event and
// every event its grant. Gives the number of committed grants.
absl::StatusOr<int64_t> CheckState(State& state);

}  // namespace sotto::durability

#endif  // SOTTO_TESTS_DURABILITY_STATE_H_
