// The ledger's state computed from its rows alone.
#ifndef SOTTO_SERVER_LEDGER_REPLAY_H_
#define SOTTO_SERVER_LEDGER_REPLAY_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/ledger/account.h"
#include "server/ledger/granted_steps.h"

namespace sotto::ledger {

// Applies rows one after the other and checks that each was allowed: it is the ledger's rules,
// written a second time, without a database.
class Replay {
 public:
  // `datasets`: as stored, by name; each must match the row that registered it.
  explicit Replay(std::map<std::string, v1::Dataset> datasets) : datasets_(std::move(datasets)) {}

  // DATA_LOSS names the row and the rule that it breaks. No row may follow then.
  absl::Status Apply(const v1::LedgerEntry& entry);

  // Is every dataset registered by a row? DATA_LOSS otherwise.
  absl::Status CheckAllRegistered() const;

  // By job. Their attempt is the newest that was granted steps, and `returned` is that attempt's.
  const std::map<std::string, Account>& accounts() const { return accounts_; }
  // By job and attempt, ascending.
  using Grants = std::map<std::pair<std::string, int64_t>, std::vector<GrantedSteps>>;
  const Grants& grants() const { return grants_; }
  // With balances, by name.
  std::vector<v1::Dataset> Datasets() const;

 private:
  absl::Status ApplyRegistration(const v1::LedgerEntry& entry);
  absl::Status ApplyReservation(const v1::LedgerEntry& entry);
  absl::Status ApplyGrant(const v1::LedgerEntry& entry);
  absl::Status ApplyReturn(const v1::LedgerEntry& entry);
  absl::Status ApplyRelease(const v1::LedgerEntry& entry);
  std::vector<Account> AccountsOf(const std::string& dataset) const;

  const std::map<std::string, v1::Dataset> datasets_;
  std::map<std::string, bool> is_registered_;
  std::map<std::string, Account> accounts_;
  std::map<std::string, std::vector<std::string>> jobs_of_dataset_;  // in the order of admission
  Grants grants_;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_REPLAY_H_
