#include "server/ledger/sqlite_ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/ledger/account_table.h"
#include "server/ledger/admission.h"
#include "server/ledger/charge_record.h"
#include "server/ledger/entry_chain.h"

namespace sotto::ledger {
namespace {

using database::Transaction;

// May this attempt of the account do something now?
absl::Status CheckAttempt(const Account& account, int64_t attempt) {
  if (attempt < account.attempt) {
    return absl::AbortedError(absl::StrCat("attempt ", attempt, " of ", account.job,
                                           " is fenced: attempt ", account.attempt,
                                           " has started"));
  }
  if (account.settled) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ledger's account of ", account.job, " is settled"));
  }
  if (attempt > account.attempt || attempt < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("attempt ", attempt, " of ", account.job, " was never started"));
  }
  return absl::OkStatus();
}

absl::Status CheckRange(const Account& account, const std::vector<GrantedSteps>& grants,
                        int64_t first_step, int64_t end_step) {
  if (first_step < 0 || end_step <= first_step) {
    return absl::InvalidArgumentError(absl::StrCat("a grant must be of at least one step, but is [",
                                                   first_step, ", ", end_step, ")"));
  }
  if (!grants.empty() && first_step != grants.back().end_step) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the next grant of ", account.job, " must begin at step ", grants.back().end_step,
        ", where the attempt's last one ends, but begins at ", first_step));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SqliteLedger::CheckReserve(Transaction& transaction,
                                        const ReservationRequest& request) {
  ASSIGN_OR_RETURN(const v1::Dataset dataset, ReadDataset(transaction, request.dataset));
  ASSIGN_OR_RETURN(const std::vector<Account> accounts,
                   ReadAccountsOf(transaction, request.dataset));
  return DecideAdmission(request, dataset, TotalsOf(accounts));
}

absl::Status SqliteLedger::Reserve(Transaction& transaction, const ReservationRequest& request) {
  if (request.job.empty()) return absl::InvalidArgumentError("a reservation must name its job");
  const absl::Status has_account = ReadAccount(transaction, request.job).status();
  if (has_account.ok()) {
    return absl::AlreadyExistsError(absl::StrCat("the ledger has an account of ", request.job));
  }
  if (!absl::IsNotFound(has_account)) return has_account;
  RETURN_IF_ERROR(CheckReserve(transaction, request));

  RETURN_IF_ERROR(
      InsertAccount(transaction, OpenAccount(request.job, request.dataset, request.charge)));
  if (request.steward_override) {
    v1::LedgerEntry entry =
        NewEntry(v1::LedgerEntry::STEWARD_OVERRIDE, request.dataset, request.job);
    entry.set_detail(request.detail);
    RETURN_IF_ERROR(AppendEntry(transaction, std::move(entry)));
  }
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::RESERVED, request.dataset, request.job);
  RecordCharge(request.charge, entry);
  entry.set_detail(request.detail);
  return AppendEntry(transaction, std::move(entry));
}

absl::Status SqliteLedger::RecordRefusal(Transaction& transaction,
                                         const ReservationRequest& request,
                                         const absl::Status& refusal) {
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::REFUSED, request.dataset, request.job);
  RecordCharge(request.charge, entry);
  entry.set_detail(absl::StrCat(request.detail, request.detail.empty() ? "" : "; ",
                                "refused: ", refusal.message()));
  return AppendEntry(transaction, std::move(entry));
}

absl::Status SqliteLedger::StartAttempt(Transaction& transaction, absl::string_view job,
                                        int64_t attempt) {
  ASSIGN_OR_RETURN(Account account, ReadAccount(transaction, job));
  if (attempt <= account.attempt) return CheckAttempt(account, attempt);
  if (account.settled) return CheckAttempt(account, attempt);
  account.attempt = attempt;
  account.returned.reset();
  return UpdateAccount(transaction, account);
}

absl::StatusOr<GrantedSteps> SqliteLedger::CommitGrant(Transaction& transaction,
                                                       absl::string_view job, int64_t attempt,
                                                       int64_t first_step, int64_t end_step) {
  ASSIGN_OR_RETURN(Account account, ReadAccount(transaction, job));
  RETURN_IF_ERROR(CheckAttempt(account, attempt));
  if (account.returned.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("attempt ", attempt, " of ", job, " has stopped and returned its steps"));
  }
  ASSIGN_OR_RETURN(const std::vector<GrantedSteps> grants, ReadGrants(transaction, job, attempt));
  for (const GrantedSteps& grant : grants) {
    if (grant.first_step == first_step) return grant;
  }
  RETURN_IF_ERROR(CheckRange(account, grants, first_step, end_step));

  int64_t cost = 0;
  const GrantedSteps granted = CommitSteps(grants, first_step, end_step, account, cost);
  if (granted.steps() == 0) return granted;
  RETURN_IF_ERROR(UpdateAccount(transaction, account));
  RETURN_IF_ERROR(InsertGrant(transaction, job, attempt, granted));
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::COMMITTED, account.dataset, job);
  entry.set_attempt(attempt);
  entry.set_first_step(granted.first_step);
  entry.set_end_step(granted.end_step);
  entry.set_steps(cost);
  RETURN_IF_ERROR(AppendEntry(transaction, std::move(entry)));
  return granted;
}

absl::StatusOr<std::vector<GrantedSteps>> SqliteLedger::ListGrants(Transaction& transaction,
                                                                   absl::string_view job,
                                                                   int64_t attempt) {
  return ReadGrants(transaction, job, attempt);
}

absl::StatusOr<int64_t> SqliteLedger::ReturnUnstarted(Transaction& transaction,
                                                      absl::string_view job, int64_t attempt,
                                                      int64_t started_end) {
  // An unset field (-1) must not give everything back.
  if (started_end < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the end of the started steps must not be negative, but is ", started_end));
  }
  ASSIGN_OR_RETURN(Account account, ReadAccount(transaction, job));
  RETURN_IF_ERROR(CheckAttempt(account, attempt));
  if (account.returned.has_value()) return *account.returned;
  ASSIGN_OR_RETURN(const std::vector<GrantedSteps> grants, ReadGrants(transaction, job, attempt));
  int64_t count = 0;
  const GrantedSteps returned = ReturnSteps(grants, started_end, account, count);
  account.returned = count;
  RETURN_IF_ERROR(UpdateAccount(transaction, account));
  if (returned.steps() == 0) return 0;
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::RETURNED, account.dataset, job);
  entry.set_attempt(attempt);
  entry.set_first_step(returned.first_step);
  entry.set_end_step(returned.end_step);
  entry.set_steps(count);
  RETURN_IF_ERROR(AppendEntry(transaction, std::move(entry)));
  return count;
}

absl::Status SqliteLedger::Settle(Transaction& transaction, absl::string_view job) {
  ASSIGN_OR_RETURN(Account account, ReadAccount(transaction, job));
  if (account.settled) return absl::OkStatus();
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::RELEASED, account.dataset, job);
  entry.set_attempt(account.attempt);
  entry.set_steps(account.remaining());
  account.released = account.remaining();
  account.settled = true;
  RETURN_IF_ERROR(UpdateAccount(transaction, account));
  return AppendEntry(transaction, std::move(entry));
}

absl::StatusOr<Account> SqliteLedger::GetAccount(Transaction& transaction, absl::string_view job) {
  return ReadAccount(transaction, job);
}

absl::Status SqliteLedger::RecordStewardView(Transaction& transaction, absl::string_view job,
                                             absl::string_view what) {
  ASSIGN_OR_RETURN(const Account account, ReadAccount(transaction, job));
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::STEWARD_VIEW, account.dataset, job);
  entry.set_detail(std::string(what));
  return AppendEntry(transaction, std::move(entry));
}

}  // namespace sotto::ledger
