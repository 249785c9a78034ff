// The privacy budgets of datasets and every charge against them.
#ifndef SOTTO_SERVER_LEDGER_LEDGER_H_
#define SOTTO_SERVER_LEDGER_LEDGER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/database/transaction.h"
#include "server/ledger/account.h"
#include "server/ledger/budget_refusal.h"
#include "server/ledger/granted_steps.h"
#include "server/ledger/job_charge.h"

namespace sotto::ledger {

// What a job asks for when it is admitted.
struct ReservationRequest {
  std::string job;
  std::string dataset;
  // With the crash reserve. No units: a job on data without a budget, or a steward's not-private
  // job.
  JobCharge charge;
  bool steward_override =
      false;           // a not-private job on budgeted data; recorded in a row of its own
  std::string detail;  // for the record: sigma, q, cap
};

struct EntryPage {
  std::vector<v1::LedgerEntry> entries;  // ascending rows
  int64_t next_after_row = 0;            // 0: this was the last page
};

// The life of a charge:
// 1. Admission: Reserve moves the planned cost from the budget to the job's account, or refuses. 2.
// A new attempt calls StartAttempt, which fences older ones. 3. CommitGrant moves steps from
// reserved to committed (with shuffled batches epochs: accounting::Compositions says which steps
// cost one); only after the commit of its transaction may the grant be sent. 4. After a
// clean stop, ReturnUnstarted moves steps that no rank has started back to reserved; nothing else
// ever lowers committed. 5. Settle, in the transaction of the job's terminal transition, releases
// what is left of the reservation.
//
// Guarantee: for every dataset with a budget (epsilon, delta), at every row, committed and reserved
// charges together fit the budget's capacity (accounting::Fits), so that everything ever granted is
// (epsilon, delta)-DP for any crash of coordinator or workers.
//
// Every method runs inside the caller's transaction; a method that fails wrote nothing. Each change
// is one row, chained to the one before by SHA-256; rows are never changed or deleted. Other errors
// are the database's (transaction.h), and DATA_LOSS for rows that cannot be read.
class Ledger {
 public:
  virtual ~Ledger() = default;

  // Registers a dataset whose file the caller has read and validated. ALREADY_EXISTS: the name or
  // the content (sha256) is registered. INVALID_ARGUMENT: name, sha256, max_records or budget out
  // of range; the message lists them all.
  virtual absl::Status RegisterDataset(database::Transaction& transaction,
                                       const v1::Dataset& dataset) = 0;
  // With spent, reserved and left filled in. NOT_FOUND: no such dataset.
  virtual absl::StatusOr<v1::Dataset> GetDataset(database::Transaction& transaction,
                                                 absl::string_view name) = 0;
  // By name, those after `after_name` ("": from the first), `limit` at most.
  virtual absl::StatusOr<std::vector<v1::Dataset>> ListDatasets(database::Transaction& transaction,
                                                                absl::string_view after_name,
                                                                int limit) = 0;
  // Name of the dataset with this content, if one is registered: private records must not be used
  // as public ones.
  virtual absl::StatusOr<std::optional<std::string>> FindContent(database::Transaction& transaction,
                                                                 absl::string_view sha256) = 0;

  // Would Reserve succeed now? Its errors, without writing anything: for validate_only.
  virtual absl::Status CheckReserve(database::Transaction& transaction,
                                    const ReservationRequest& request) = 0;
  // Opens the job's account. RESOURCE_EXHAUSTED: over budget; the status carries a BudgetRefusal
  // (budget_refusal.h), and the caller commits RecordRefusal instead. NOT_FOUND: dataset.
  // ALREADY_EXISTS: the job has an account. INVALID_ARGUMENT: nothing reserved; a charge of the
  // wrong length, not positive, or absent on budgeted data without steward_override; segments that
  // differ in their truncation_delta.
  virtual absl::Status Reserve(database::Transaction& transaction,
                               const ReservationRequest& request) = 0;
  // Records that admission refused. The job need not exist.
  virtual absl::Status RecordRefusal(database::Transaction& transaction,
                                     const ReservationRequest& request,
                                     const absl::Status& refusal) = 0;

  // Makes `attempt` the job's newest, before its workers are launched. Idempotent. ABORTED: a newer
  // one has started. NOT_FOUND: no account. FAILED_PRECONDITION: settled.
  virtual absl::Status StartAttempt(database::Transaction& transaction, absl::string_view job,
                                    int64_t attempt) = 0;
  // Commits up to [first_step, end_step): less when the reservation does not cover it, empty (and
  // no row) when it does not cover the first step. Idempotent: a repeated (job, attempt,
  // first_step) gives the stored grant and charges nothing, whatever end_step. ABORTED: not the
  // newest attempt. FAILED_PRECONDITION: attempt never started, returned its steps, or account
  // settled. INVALID_ARGUMENT: an empty range, or one that does not begin where the attempt's last
  // grant ends.
  virtual absl::StatusOr<GrantedSteps> CommitGrant(database::Transaction& transaction,
                                                   absl::string_view job, int64_t attempt,
                                                   int64_t first_step, int64_t end_step) = 0;
  // The attempt's grants, ascending: what to send again after a reconnect.
  virtual absl::StatusOr<std::vector<GrantedSteps>> ListGrants(database::Transaction& transaction,
                                                               absl::string_view job,
                                                               int64_t attempt) = 0;
  // After a clean stop only: steps of the attempt from `started_end` on were started by no rank.
  // Gives how many compositions (mostly: steps) come back; the attempt gets no further grants.
  // Idempotent: a repetition gives the first answer. ABORTED: not the newest attempt.
  // FAILED_PRECONDITION: attempt never started, or account settled.
  virtual absl::StatusOr<int64_t> ReturnUnstarted(database::Transaction& transaction,
                                                  absl::string_view job, int64_t attempt,
                                                  int64_t started_end) = 0;
  // Releases the rest. Idempotent. NOT_FOUND: no account.
  virtual absl::Status Settle(database::Transaction& transaction, absl::string_view job) = 0;

  // NOT_FOUND: no account.
  virtual absl::StatusOr<Account> GetAccount(database::Transaction& transaction,
                                             absl::string_view job) = 0;

  // Raw values or logs of the job are about to be shown to a data steward. NOT_FOUND: no account.
  virtual absl::Status RecordStewardView(database::Transaction& transaction, absl::string_view job,
                                         absl::string_view what) = 0;

  // Rows of a dataset ("": of all) after row `after_row`, `limit` at most.
  virtual absl::StatusOr<EntryPage> ListEntries(database::Transaction& transaction,
                                                absl::string_view dataset, int64_t after_row,
                                                int limit) = 0;

  // Recomputes the chain and, from its rows alone, every account and balance, and compares.
  // DATA_LOSS names the first row or account that is wrong: edited, deleted, reordered or inserted
  // rows, balances that differ, a budget overdrawn.
  virtual absl::StatusOr<v1::VerifyLedgerResponse> Verify(database::Transaction& transaction) = 0;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_LEDGER_H_
