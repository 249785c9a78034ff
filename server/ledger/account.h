// A job's account, and the arithmetic on accounts that both the ledger and its verification use.
#ifndef SOTTO_SERVER_LEDGER_ACCOUNT_H_
#define SOTTO_SERVER_LEDGER_ACCOUNT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/accounting/charge.h"

namespace sotto::ledger {

// Where a job's account stands, in steps.
struct Account {
  std::string job;
  std::string dataset;
  accounting::StepCharge step_charge;
  int64_t reserved = 0;   // at admission
  int64_t committed = 0;  // granted and not returned; a step counts each time it is granted
  int64_t released = 0;   // at the end
  int64_t attempt = 0;    // newest attempt; older ones are refused
  // How many steps the newest attempt returned; set: it gets no further grants.
  std::optional<int64_t> returned;
  bool settled = false;

  // What may still be granted.
  int64_t remaining() const { return reserved - committed - released; }
};

struct DatasetTotals {
  accounting::ChargeTotals committed;
  accounting::ChargeTotals reserved;  // with what is committed
};

// `accounts` in the order of their admission: sums of doubles depend on it.
DatasetTotals TotalsOf(const std::vector<Account>& accounts);

// Do the totals stay within the dataset's budget? True without a budget.
bool FitsBudget(const accounting::ChargeTotals& totals, const v1::Dataset& dataset);

// Fills spent, reserved and left in.
void FillBalances(const DatasetTotals& totals, v1::Dataset& dataset);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ACCOUNT_H_
