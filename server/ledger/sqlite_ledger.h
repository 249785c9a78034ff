// The ledger on the coordinator's database.
#ifndef SOTTO_SERVER_LEDGER_SQLITE_LEDGER_H_
#define SOTTO_SERVER_LEDGER_SQLITE_LEDGER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "server/ledger/ledger.h"

namespace sotto::ledger {

// Thread-safe: its state is in the database, whose schemas must have LedgerSchema(). Datasets and
// reads are in sqlite_ledger_datasets.cc, charges in sqlite_ledger.cc.
class SqliteLedger : public Ledger {
 public:
  // `clock` stamps the rows and outlives this.
  explicit SqliteLedger(const Clock& clock = RealClock::Get()) : clock_(clock) {}

  absl::Status RegisterDataset(database::Transaction& transaction,
                               const v1::Dataset& dataset) override;
  absl::StatusOr<v1::Dataset> GetDataset(database::Transaction& transaction,
                                         absl::string_view name) override;
  absl::StatusOr<std::vector<v1::Dataset>> ListDatasets(database::Transaction& transaction,
                                                        absl::string_view after_name,
                                                        int limit) override;
  absl::StatusOr<std::optional<std::string>> FindContent(database::Transaction& transaction,
                                                         absl::string_view sha256) override;

  absl::Status CheckReserve(database::Transaction& transaction,
                            const ReservationRequest& request) override;
  absl::Status Reserve(database::Transaction& transaction,
                       const ReservationRequest& request) override;
  absl::Status RecordRefusal(database::Transaction& transaction, const ReservationRequest& request,
                             const absl::Status& refusal) override;

  absl::Status StartAttempt(database::Transaction& transaction, absl::string_view job,
                            int64_t attempt) override;
  absl::StatusOr<GrantedSteps> CommitGrant(database::Transaction& transaction,
                                           absl::string_view job, int64_t attempt,
                                           int64_t first_step, int64_t end_step) override;
  absl::StatusOr<std::vector<GrantedSteps>> ListGrants(database::Transaction& transaction,
                                                       absl::string_view job,
                                                       int64_t attempt) override;
  absl::StatusOr<int64_t> ReturnUnstarted(database::Transaction& transaction, absl::string_view job,
                                          int64_t attempt, int64_t started_end) override;
  absl::Status Settle(database::Transaction& transaction, absl::string_view job) override;

  absl::StatusOr<Account> GetAccount(database::Transaction& transaction,
                                     absl::string_view job) override;
  absl::Status RecordStewardView(database::Transaction& transaction, absl::string_view job,
                                 absl::string_view what) override;
  absl::StatusOr<EntryPage> ListEntries(database::Transaction& transaction,
                                        absl::string_view dataset, int64_t after_row,
                                        int limit) override;
  absl::StatusOr<v1::VerifyLedgerResponse> Verify(database::Transaction& transaction) override;

 private:
  v1::LedgerEntry NewEntry(v1::LedgerEntry::Kind kind, absl::string_view dataset,
                           absl::string_view job) const;

  const Clock& clock_;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_SQLITE_LEDGER_H_
