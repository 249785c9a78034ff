#include "server/ledger/admission.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/accounting/orders.h"
#include "server/ledger/budget_refusal.h"

namespace sotto::ledger {
namespace {

using accounting::ChargeTotals;
using accounting::StepCharge;

bool FitsWith(ChargeTotals totals, const StepCharge& step_charge, int64_t steps,
              const v1::Dataset& dataset) {
  totals.Add(step_charge, steps);
  return FitsBudget(totals, dataset);
}

absl::Status CheckRequest(const ReservationRequest& request, const v1::Dataset& dataset) {
  const StepCharge& charge = request.step_charge;
  if (request.steps < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a reservation must be of at least 1 step, but is of ", request.steps));
  }
  if (!(charge.truncation_delta >= 0) || charge.truncation_delta >= 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "truncation_delta of a step must be in [0, 1), but is ", charge.truncation_delta));
  }
  if (charge.units.empty()) {
    if (!dataset.budgeted() || request.steward_override) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset '", dataset.name(), "' has a budget, but the job states no charge for a step"));
  }
  if (charge.units.size() != accounting::kBudgetOrders.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a step's charge must have ",
                                                   accounting::kBudgetOrders.size(),
                                                   " orders, but has ", charge.units.size()));
  }
  // Every step of the mechanism costs something, rounded up: 0 is a mistake, not a gift.
  if (*std::min_element(charge.units.begin(), charge.units.end()) < 1) {
    return absl::InvalidArgumentError("a step's charge must be positive at every order");
  }
  return absl::OkStatus();
}

}  // namespace

int64_t LargestAdmissibleSteps(const ChargeTotals& reserved, const StepCharge& step_charge,
                               const v1::Dataset& dataset, int64_t limit) {
  if (!FitsWith(reserved, step_charge, 0, dataset)) return 0;
  int64_t fits = 0;
  int64_t over = limit + 1;
  while (over - fits > 1) {
    const int64_t middle = fits + (over - fits) / 2;
    (FitsWith(reserved, step_charge, middle, dataset) ? fits : over) = middle;
  }
  return fits;
}

absl::Status DecideAdmission(const ReservationRequest& request, const v1::Dataset& dataset,
                             const DatasetTotals& totals) {
  RETURN_IF_ERROR(CheckRequest(request, dataset));
  if (FitsWith(totals.reserved, request.step_charge, request.steps, dataset)) {
    return absl::OkStatus();
  }
  ChargeTotals requested;
  requested.Add(request.step_charge, request.steps);
  ChargeTotals together = totals.reserved;
  together.Add(requested);
  const double delta = dataset.budget().delta();
  BudgetRefusal refusal;
  refusal.dataset = dataset.name();
  refusal.budget_epsilon = dataset.budget().epsilon();
  refusal.budget_delta = delta;
  refusal.committed_epsilon = accounting::EpsilonOf(totals.committed, delta);
  refusal.reserved_epsilon = accounting::EpsilonOf(totals.reserved, delta);
  refusal.requested_epsilon = accounting::EpsilonOf(requested, delta);
  refusal.total_epsilon = accounting::EpsilonOf(together, delta);
  refusal.requested_steps = request.steps;
  refusal.largest_steps =
      LargestAdmissibleSteps(totals.reserved, request.step_charge, dataset, request.steps);
  return BudgetRefusedError(refusal);
}

}  // namespace sotto::ledger
