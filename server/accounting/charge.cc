#include "server/accounting/charge.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status_macros.h"
#include "server/accounting/epsilon.h"
#include "server/accounting/orders.h"
#include "server/accounting/ranges.h"
#include "server/accounting/rdp.h"

namespace sotto::accounting {
namespace {

constexpr int64_t kSaturated = std::numeric_limits<int64_t>::max();
constexpr double kRdpSlack = 1 + 1e-9;  // rdp.h promises 1e-10

int64_t UnitsRoundedUp(double rdp) {
  const double units = std::ceil(rdp * kRdpSlack * static_cast<double>(kUnitsPerRdp));
  constexpr double kTwoTo63 = 9223372036854775808.0;
  return units < kTwoTo63 ? static_cast<int64_t>(units) : kSaturated;
}

int64_t SaturatingAdd(int64_t total, int64_t units, int64_t steps) {
  const __int128 sum = static_cast<__int128>(units) * steps + total;
  return sum < kSaturated ? static_cast<int64_t>(sum) : kSaturated;
}

// Delta of one order.
double OrderDelta(double delta) {
  return kAccountingShare * delta / static_cast<double>(kBudgetOrders.size());
}

}  // namespace

absl::StatusOr<StepCharge> ChargeOf(const StepMechanism& step, double truncation_delta) {
  RETURN_IF_ERROR(Ranges()
                      .SamplingRate("sampling_rate", step.sampling_rate)
                      .Positive("noise_multiplier", step.noise_multiplier)
                      .NonNegativeBelowOne("truncation_delta", truncation_delta)
                      .Check());
  StepCharge charge;
  charge.truncation_delta = truncation_delta;
  for (double rdp : SampledGaussianRdp(step.sampling_rate, step.noise_multiplier, BudgetOrders())) {
    charge.units.push_back(UnitsRoundedUp(rdp));
  }
  return charge;
}

void ChargeTotals::Add(const StepCharge& charge, int64_t steps) {
  if (steps <= 0) return;
  if (units.empty()) units.resize(kBudgetOrders.size(), 0);
  for (size_t i = 0; i < units.size(); ++i) {
    // A charge without units is one of data without a budget.
    if (i < charge.units.size()) units[i] = SaturatingAdd(units[i], charge.units[i], steps);
  }
  truncation_delta += charge.truncation_delta * static_cast<double>(steps);
}

void ChargeTotals::Add(const ChargeTotals& other) {
  Add(StepCharge{other.units, other.truncation_delta}, 1);
}

BudgetCapacity CapacityOf(double epsilon, double delta) {
  BudgetCapacity capacity;
  // Sums of doubles err by far less than 1e-9.
  capacity.truncation_delta = kTruncationShare * delta * (1 - 1e-9);
  const double order_delta = OrderDelta(delta);
  for (double order : kBudgetOrders) {
    const double rdp =
        epsilon - std::log1p(-1 / order) + (std::log(order_delta) + std::log(order)) / (order - 1);
    const double units = std::floor(rdp * (1 - 1e-12) * static_cast<double>(kUnitsPerRdp));
    constexpr double kTwoTo62 = 4611686018427387904.0;  // below what a saturated sum holds
    capacity.units.push_back(units >= 0 ? static_cast<int64_t>(std::min(units, kTwoTo62)) : -1);
  }
  return capacity;
}

bool Fits(const ChargeTotals& totals, const BudgetCapacity& capacity) {
  if (totals.truncation_delta > capacity.truncation_delta) return false;
  if (std::all_of(totals.units.begin(), totals.units.end(), [](int64_t u) { return u == 0; })) {
    return true;
  }
  for (size_t i = 0; i < capacity.units.size(); ++i) {
    if (totals.units[i] <= capacity.units[i]) return true;
  }
  return false;
}

double EpsilonOf(const ChargeTotals& totals, double delta) {
  if (std::all_of(totals.units.begin(), totals.units.end(), [](int64_t u) { return u == 0; })) {
    return 0;
  }
  const double order_delta = OrderDelta(delta);
  double smallest = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < totals.units.size(); ++i) {
    if (totals.units[i] == kSaturated) continue;
    const double rdp = static_cast<double>(totals.units[i]) / static_cast<double>(kUnitsPerRdp);
    smallest = std::min(smallest, EpsilonAtOrder(kBudgetOrders[i], rdp, order_delta));
  }
  return smallest;
}

}  // namespace sotto::accounting
