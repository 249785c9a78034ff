// What a step costs a dataset's privacy budget, in integers, and whether a sum of such costs fits.
//
// A budget (epsilon, delta) is split: 0.99 delta goes to the accountant, 0.01 delta pays for capped
// batches (batch_cap.h). The accountant adds RDP at each of the budget's n fixed orders, rounded up
// to units of 2^-40, and admits while at least one order's sum is within that order's capacity at
// delta' = 0.99 delta / n.
//
// Guarantee: whatever is admitted, chosen fully adaptively and run concurrently, is
// (epsilon, delta)-DP. Proof sketch: split the transcripts by the first order whose sum is within
// its capacity at the end. On part i the run equals that of a Renyi filter of fixed order i
// (Feldman and Zrnic 2021, arXiv 2008.11193), which is (epsilon, delta')-DP; sums only grow, so the
// filter never interfered. The n parts add up to n delta'.
#ifndef SOTTO_SERVER_ACCOUNTING_CHARGE_H_
#define SOTTO_SERVER_ACCOUNTING_CHARGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/accounting/epsilon_curve.h"

namespace sotto::accounting {

inline constexpr int64_t kUnitsPerRdp = int64_t{1} << 40;
inline constexpr double kAccountingShare = 0.99;  // of a delta: for the accountant
inline constexpr double kTruncationShare = 0.01;  // of a delta: for all capped batches together

// Cost of one step.
struct StepCharge {
  std::vector<int64_t> units;   // RDP at kBudgetOrders, units of 2^-40 rounded up; saturates
  double truncation_delta = 0;  // what the batch cap costs
};

// INVALID_ARGUMENT: as EpsilonCurve::Create; truncation_delta outside [0, 1).
absl::StatusOr<StepCharge> ChargeOf(const StepMechanism& step, double truncation_delta);

// A sum of charges. Empty units: nothing was added yet.
struct ChargeTotals {
  std::vector<int64_t> units;
  double truncation_delta = 0;

  // Adds `steps` >= 0 times the charge; saturates at the largest integer, which fits nowhere.
  void Add(const StepCharge& charge, int64_t steps);
  void Add(const ChargeTotals& other);
};

// What a budget can hold.
struct BudgetCapacity {
  std::vector<int64_t> units;   // rounded down; -1: this order cannot hold anything
  double truncation_delta = 0;  // 0.01 delta
};

// Needs epsilon > 0, 0 < delta < 1, both finite.
BudgetCapacity CapacityOf(double epsilon, double delta);

// At least one order's sum is within its capacity, and the truncation costs are. Nothing always
// fits.
bool Fits(const ChargeTotals& totals, const BudgetCapacity& capacity);

// The smallest epsilon of a budget of this delta that holds the totals (their RDP; truncation costs
// are not looked at): what "spent" and "reserved" show. 0 for nothing, infinity for saturated sums.
double EpsilonOf(const ChargeTotals& totals, double delta);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_CHARGE_H_
