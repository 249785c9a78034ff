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

bool FitsWith(ChargeTotals totals, const ChargeTotals& more, const v1::Dataset& dataset) {
  totals.Add(more);
  return FitsBudget(totals, dataset);
}

// The first `count` compositions, segment by segment.
SegmentCounts FirstOf(const JobCharge& charge, int64_t count) {
  SegmentCounts counts;
  for (int64_t reserved : charge.reserved) {
    counts.push_back(std::min(reserved, count));
    count -= counts.back();
  }
  return counts;
}

absl::Status CheckCharge(const StepCharge& charge, const ReservationRequest& request,
                         const v1::Dataset& dataset) {
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

absl::Status CheckRequest(const ReservationRequest& request, const v1::Dataset& dataset) {
  const JobCharge& charge = request.charge;
  if (charge.charges.size() != charge.compositions.num_segments() ||
      charge.reserved.size() != charge.charges.size()) {
    return absl::InvalidArgumentError("each noise segment must have one charge and one count");
  }
  const int64_t steps = SumOf(charge.reserved);
  if (steps < 1 || *std::min_element(charge.reserved.begin(), charge.reserved.end()) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a reservation must be of at least 1 step, but is of ", steps));
  }
  for (const StepCharge& step : charge.charges) {
    RETURN_IF_ERROR(CheckCharge(step, request, dataset));
    // What the cap costs is covered by the number of compositions alone (JobCharge::Covers).
    if (step.truncation_delta != charge.charges[0].truncation_delta ||
        step.units.empty() != charge.charges[0].units.empty()) {
      return absl::InvalidArgumentError(
          "the segments of a job must have the same truncation_delta, and units all or none");
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t LargestAdmissibleSteps(const ChargeTotals& reserved, const JobCharge& charge,
                               const v1::Dataset& dataset) {
  if (!FitsBudget(reserved, dataset)) return 0;
  int64_t fits = 0;
  int64_t over = SumOf(charge.reserved) + 1;
  while (over - fits > 1) {
    const int64_t middle = fits + (over - fits) / 2;
    const bool within = FitsWith(reserved, charge.TotalsOf(FirstOf(charge, middle)), dataset);
    (within ? fits : over) = middle;
  }
  return fits;
}

absl::Status DecideAdmission(const ReservationRequest& request, const v1::Dataset& dataset,
                             const DatasetTotals& totals) {
  RETURN_IF_ERROR(CheckRequest(request, dataset));
  const ChargeTotals requested = request.charge.ReservedTotals();
  if (FitsWith(totals.reserved, requested, dataset)) return absl::OkStatus();
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
  refusal.requested_steps = SumOf(request.charge.reserved);
  refusal.largest_steps = LargestAdmissibleSteps(totals.reserved, request.charge, dataset);
  return BudgetRefusedError(refusal);
}

}  // namespace sotto::ledger
