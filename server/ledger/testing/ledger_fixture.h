// A ledger on a real database, with short ways to use it.
#ifndef SOTTO_SERVER_LEDGER_TESTING_LEDGER_FIXTURE_H_
#define SOTTO_SERVER_LEDGER_TESTING_LEDGER_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/accounting/charge.h"
#include "server/database/testing/test_database.h"
#include "server/ledger/sqlite_ledger.h"

namespace sotto::ledger {

// A valid registration of (epsilon 8, delta 1e-6); the content follows from the name.
v1::Dataset MakeDataset(const std::string& name);

// A charge of which exactly `steps` fit the budget of MakeDataset.
accounting::StepCharge ChargeThatFits(int64_t steps);

ReservationRequest MakeRequest(const std::string& job, const std::string& dataset, int64_t steps,
                               const accounting::StepCharge& step_charge);

// Every method is one committed request.
class LedgerFixture {
 public:
  LedgerFixture();

  database::TestDatabase& database() { return database_; }
  Ledger& ledger() { return ledger_; }
  SimulatedClock& clock() { return clock_; }

  template <typename T>
  absl::StatusOr<T> Write(const std::function<absl::StatusOr<T>(database::Transaction&)>& work) {
    absl::StatusOr<T> result = absl::UnknownError("not run");
    const absl::Status status = database_->SubmitAndWait([&](database::Transaction& transaction) {
      result = work(transaction);
      return result.status();
    });
    if (!status.ok()) return status;
    return result;
  }
  absl::Status Write(const database::Work& work) { return database_->SubmitAndWait(work); }

  absl::Status Register(const v1::Dataset& dataset);
  absl::Status Reserve(const ReservationRequest& request);
  absl::Status StartAttempt(const std::string& job, int64_t attempt);
  absl::StatusOr<GrantedSteps> Grant(const std::string& job, int64_t attempt, int64_t first_step,
                                     int64_t end_step);
  absl::StatusOr<int64_t> Return(const std::string& job, int64_t attempt, int64_t started_end);
  absl::Status Settle(const std::string& job);
  absl::StatusOr<Account> GetAccount(const std::string& job);
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name);
  absl::StatusOr<v1::VerifyLedgerResponse> Verify();
  // All rows.
  std::vector<v1::LedgerEntry> Entries();

 private:
  database::TestDatabase database_;
  SimulatedClock clock_;
  SqliteLedger ledger_;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_TESTING_LEDGER_FIXTURE_H_
