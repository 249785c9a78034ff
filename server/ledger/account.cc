#include "server/ledger/account.h"

#include <algorithm>

namespace sotto::ledger {

DatasetTotals TotalsOf(const std::vector<Account>& accounts) {
  DatasetTotals totals;
  for (const Account& account : accounts) {
    totals.committed.Add(account.step_charge, account.committed);
    totals.reserved.Add(account.step_charge, account.reserved - account.released);
  }
  return totals;
}

bool FitsBudget(const accounting::ChargeTotals& totals, const v1::Dataset& dataset) {
  if (!dataset.budgeted()) return true;
  return accounting::Fits(
      totals, accounting::CapacityOf(dataset.budget().epsilon(), dataset.budget().delta()));
}

void FillBalances(const DatasetTotals& totals, v1::Dataset& dataset) {
  if (!dataset.budgeted()) return;
  const double delta = dataset.budget().delta();
  dataset.set_spent_epsilon(accounting::EpsilonOf(totals.committed, delta));
  dataset.set_reserved_epsilon(accounting::EpsilonOf(totals.reserved, delta));
  dataset.set_left_epsilon(std::max(0.0, dataset.budget().epsilon() - dataset.reserved_epsilon()));
}

}  // namespace sotto::ledger
