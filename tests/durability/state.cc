#include "tests/durability/state.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/ledger/ledger_schema.h"
#include "server/store/job_store_schema.h"

namespace sotto::durability {
namespace {

using database::Transaction;

using GrantKey = std::pair<int64_t, int64_t>;  // attempt, first step

absl::StatusOr<std::map<GrantKey, int64_t>> GrantsInEvents(State& state, Transaction& transaction,
                                                           const std::string& job) {
  ASSIGN_OR_RETURN(const store::EventPage page,
                   state.store->ReadEvents(transaction, job, 0, 1'000'000));
  std::map<GrantKey, int64_t> grants;
  int64_t sequence = 0;
  for (const v1::JobEvent& event : page.events) {
    if (event.sequence() != ++sequence) {
      return absl::DataLossError(absl::StrCat(job, " has no event ", sequence));
    }
    if (!event.has_grant()) continue;
    const v1::GrantEvent& grant = event.grant();
    grants[{grant.attempt(), grant.first_step()}] = grant.end_step();
  }
  if (page.tail_sequence != sequence) {
    return absl::DataLossError(absl::StrCat(job, " has lost its newest events"));
  }
  return grants;
}

absl::StatusOr<int64_t> Check(State& state, Transaction& transaction) {
  RETURN_IF_ERROR(state.ledger.Verify(transaction).status());
  ASSIGN_OR_RETURN(const ledger::EntryPage page,
                   state.ledger.ListEntries(transaction, "", 0, 1'000'000));
  std::map<std::string, std::map<GrantKey, int64_t>> in_ledger;
  int64_t num_grants = 0;
  for (const v1::LedgerEntry& entry : page.entries) {
    if (entry.kind() != v1::LedgerEntry::COMMITTED) continue;
    in_ledger[entry.job()][{entry.attempt(), entry.first_step()}] = entry.end_step();
    ++num_grants;
  }
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, state.store->ListLiveJobs(transaction));
  for (const v1::Job& job : jobs) {
    ASSIGN_OR_RETURN(const auto in_events, GrantsInEvents(state, transaction, job.id()));
    if (in_events != in_ledger[job.id()]) {
      return absl::DataLossError(
          absl::StrCat("events and ledger of ", job.id(), " tell different grants"));
    }
  }
  if (in_ledger.size() > jobs.size()) return absl::DataLossError("a charged job is not stored");
  return num_grants;
}

}  // namespace

absl::StatusOr<std::unique_ptr<State>> OpenState(const std::string& folder) {
  auto state = std::make_unique<State>();
  ASSIGN_OR_RETURN(state->directory, database::StateDirectory::Claim(folder));
  ASSIGN_OR_RETURN(
      state->database,
      database::Database::Open({.path = state->directory->File("sotto.db"),
                                .schemas = {store::JobStoreSchema(), ledger::LedgerSchema()}}));
  state->store = std::make_unique<store::SqliteJobStore>(*state->database);
  return state;
}

absl::StatusOr<int64_t> CheckState(State& state) {
  int64_t num_grants = 0;
  RETURN_IF_ERROR(state.database->ReadAndWait([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(num_grants, Check(state, transaction));
    return absl::OkStatus();
  }));
  return num_grants;
}

}  // namespace sotto::durability
