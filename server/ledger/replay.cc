#include "server/ledger/replay.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/ledger/charge_record.h"

namespace sotto::ledger {
namespace {

absl::Status RuleError(const v1::LedgerEntry& entry, absl::string_view rule) {
  return absl::DataLossError(
      absl::StrCat("ledger row ", entry.row(), " (", v1::LedgerEntry::Kind_Name(entry.kind()),
                   " of ", entry.job().empty() ? entry.dataset() : entry.job(), "): ", rule));
}

}  // namespace

absl::Status Replay::Apply(const v1::LedgerEntry& entry) {
  switch (entry.kind()) {
    case v1::LedgerEntry::DATASET_REGISTERED:
      return ApplyRegistration(entry);
    case v1::LedgerEntry::RESERVED:
      return ApplyReservation(entry);
    case v1::LedgerEntry::COMMITTED:
      return ApplyGrant(entry);
    case v1::LedgerEntry::RETURNED:
      return ApplyReturn(entry);
    case v1::LedgerEntry::RELEASED:
      return ApplyRelease(entry);
    case v1::LedgerEntry::REFUSED:
    case v1::LedgerEntry::STEWARD_OVERRIDE:
    case v1::LedgerEntry::STEWARD_VIEW:
      return absl::OkStatus();  // They move nothing.
    default:
      return RuleError(entry, "unknown kind");
  }
}

absl::Status Replay::ApplyRegistration(const v1::LedgerEntry& entry) {
  const auto dataset = datasets_.find(entry.dataset());
  if (dataset == datasets_.end()) return RuleError(entry, "the dataset is gone");
  if (is_registered_[entry.dataset()]) return RuleError(entry, "registered twice");
  if (RegistrationText(dataset->second) != entry.detail()) {
    return RuleError(entry, "the dataset or its budget was edited since");
  }
  is_registered_[entry.dataset()] = true;
  return absl::OkStatus();
}

absl::Status Replay::ApplyReservation(const v1::LedgerEntry& entry) {
  const auto registered = is_registered_.find(entry.dataset());
  if (registered == is_registered_.end()) return RuleError(entry, "the dataset is not registered");
  if (entry.steps() < 1) return RuleError(entry, "reserves no steps");
  absl::StatusOr<JobCharge> charge = ChargeOf(entry);
  if (!charge.ok()) return RuleError(entry, charge.status().message());
  const Account account = OpenAccount(entry.job(), entry.dataset(), *std::move(charge));
  if (account.reserved != entry.steps()) return RuleError(entry, "its segments do not add up");
  if (!accounts_.emplace(entry.job(), account).second) return RuleError(entry, "reserved twice");
  jobs_of_dataset_[entry.dataset()].push_back(entry.job());
  if (!FitsBudget(TotalsOf(AccountsOf(entry.dataset())).reserved, datasets_.at(entry.dataset()))) {
    return RuleError(entry, "overdraws the budget");
  }
  return absl::OkStatus();
}

absl::Status Replay::ApplyGrant(const v1::LedgerEntry& entry) {
  const auto found = accounts_.find(entry.job());
  if (found == accounts_.end()) return RuleError(entry, "nothing was reserved");
  Account& account = found->second;
  if (account.settled) return RuleError(entry, "the account was settled before");
  if (entry.attempt() < account.attempt) return RuleError(entry, "a newer attempt had started");
  if (entry.attempt() > account.attempt) account.returned.reset();
  if (account.returned.has_value()) return RuleError(entry, "the attempt had returned its steps");
  const GrantedSteps granted{entry.first_step(), entry.end_step()};
  std::vector<GrantedSteps>& grants = grants_[{entry.job(), entry.attempt()}];
  if (granted.steps() < 1 || granted.first_step < 0 ||
      (!grants.empty() && grants.back().end_step != granted.first_step)) {
    return RuleError(entry, "does not continue the attempt's grants");
  }
  int64_t cost = 0;
  if (CommitSteps(grants, granted.first_step, granted.end_step, account, cost) != granted) {
    return RuleError(entry, "exceeds the reservation");
  }
  if (cost != entry.steps()) {
    return RuleError(entry,
                     absl::StrCat("moves ", entry.steps(), " steps, but its range costs ", cost));
  }
  grants.push_back(granted);
  account.attempt = entry.attempt();
  return absl::OkStatus();
}

absl::Status Replay::ApplyReturn(const v1::LedgerEntry& entry) {
  const auto found = accounts_.find(entry.job());
  const auto grants = grants_.find({entry.job(), entry.attempt()});
  if (found == accounts_.end() || grants == grants_.end()) {
    return RuleError(entry, "nothing was granted");
  }
  Account& account = found->second;
  if (account.settled) return RuleError(entry, "the account was settled before");
  if (entry.attempt() != account.attempt) return RuleError(entry, "a newer attempt had started");
  if (account.returned.has_value()) return RuleError(entry, "returned twice");
  int64_t count = 0;
  const GrantedSteps returned = ReturnSteps(grants->second, entry.first_step(), account, count);
  if (returned.steps() < 1 || returned != GrantedSteps{entry.first_step(), entry.end_step()} ||
      count != entry.steps()) {
    return RuleError(entry, "returns steps that were not granted");
  }
  account.returned = entry.steps();
  return absl::OkStatus();
}

absl::Status Replay::ApplyRelease(const v1::LedgerEntry& entry) {
  const auto found = accounts_.find(entry.job());
  if (found == accounts_.end()) return RuleError(entry, "nothing was reserved");
  Account& account = found->second;
  if (account.settled) return RuleError(entry, "released twice");
  if (entry.steps() != account.remaining()) {
    return RuleError(entry, absl::StrCat("releases ", entry.steps(), " steps, but ",
                                         account.remaining(), " are left"));
  }
  account.released = entry.steps();
  account.settled = true;
  return absl::OkStatus();
}

absl::Status Replay::CheckAllRegistered() const {
  for (const auto& [name, dataset] : datasets_) {
    if (is_registered_.find(name) == is_registered_.end()) {
      return absl::DataLossError(absl::StrCat("dataset '", name, "' is in no row of the ledger"));
    }
  }
  return absl::OkStatus();
}

std::vector<v1::Dataset> Replay::Datasets() const {
  std::vector<v1::Dataset> datasets;
  for (const auto& [name, dataset] : datasets_) {
    datasets.push_back(dataset);
    FillBalances(TotalsOf(AccountsOf(name)), datasets.back());
  }
  return datasets;
}

std::vector<Account> Replay::AccountsOf(const std::string& dataset) const {
  std::vector<Account> accounts;
  const auto jobs = jobs_of_dataset_.find(dataset);
  if (jobs == jobs_of_dataset_.end()) return accounts;
  for (const std::string& job : jobs->second) accounts.push_back(accounts_.at(job));
  return accounts;
}

}  // namespace sotto::ledger
