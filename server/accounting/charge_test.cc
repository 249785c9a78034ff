#include "server/accounting/charge.h"

#include <cmath>
#include <limits>
#include <random>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "server/accounting/offline.h"
#include "server/accounting/orders.h"
#include "server/accounting/rdp.h"

namespace sotto::accounting {
namespace {

StepCharge MakeCharge(double q, double s, double truncation_delta = 0) {
  absl::StatusOr<StepCharge> charge = ChargeOf({q, s}, truncation_delta);
  EXPECT_OK(charge);
  return *charge;
}

ChargeTotals Total(const StepCharge& charge, int64_t steps) {
  ChargeTotals totals;
  totals.Add(charge, steps);
  return totals;
}

TEST(ChargeTest, UnitsAreRoundedUpFromTheRdp) {
  const StepCharge charge = MakeCharge(0.03, 0.9);
  ASSERT_EQ(charge.units.size(), kBudgetOrders.size());
  for (size_t i = 0; i < kBudgetOrders.size(); ++i) {
    const double units = SampledGaussianRdp(0.03, 0.9, kBudgetOrders[i]) * kUnitsPerRdp;
    EXPECT_GE(static_cast<double>(charge.units[i]), units);
    EXPECT_LE(static_cast<double>(charge.units[i]), units * (1 + 2e-9) + 1);
  }
}

TEST(ChargeTest, EvenTheSmallestStepCostsOneUnit) {
  for (int64_t units : MakeCharge(1e-9, 1000).units) EXPECT_GE(units, 1);
}

TEST(ChargeTest, HugeCostsSaturateAndFitNowhere) {
  const StepCharge charge = MakeCharge(1, 1e-9);
  const ChargeTotals totals = Total(charge, 5);
  for (int64_t units : totals.units) EXPECT_EQ(units, std::numeric_limits<int64_t>::max());
  EXPECT_FALSE(Fits(totals, CapacityOf(1e300, 0.5)));
  EXPECT_EQ(EpsilonOf(totals, 1e-6), std::numeric_limits<double>::infinity());
}

TEST(ChargeTest, TotalsOverflowIsSaturation) {
  ChargeTotals totals = Total(MakeCharge(0.5, 0.5), std::numeric_limits<int64_t>::max());
  totals.Add(totals);
  for (int64_t units : totals.units) EXPECT_EQ(units, std::numeric_limits<int64_t>::max());
}

TEST(ChargeTest, AddingStepByStepIsAddingAtOnce) {
  const StepCharge charge = MakeCharge(0.03, 0.9, 1e-14);
  ChargeTotals one_by_one;
  for (int i = 0; i < 100; ++i) one_by_one.Add(charge, 1);
  EXPECT_EQ(one_by_one.units, Total(charge, 100).units);
  EXPECT_NEAR(one_by_one.truncation_delta, 1e-12, 1e-26);
}

TEST(CapacityTest, FitsExactlyAsLongAsEpsilonIsWithin) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  int last_fit = 0;
  for (int round = 0; round < 200; ++round) {
    const double epsilon = std::exp(6 * uniform(random) - 3);  // 0.05 to 20
    const double delta = std::exp(-20 * uniform(random) - 3);
    const StepCharge charge = MakeCharge(std::exp(-8 * uniform(random)), 0.3 + 3 * uniform(random));
    const BudgetCapacity capacity = CapacityOf(epsilon, delta);
    int64_t low = 0, high = int64_t{1} << 40;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (Fits(Total(charge, middle), capacity) ? low : high) = middle;
    }
    if (low > 0) {
      ++last_fit;
      EXPECT_LE(EpsilonOf(Total(charge, low), delta), epsilon * (1 + 1e-9));
    }
    EXPECT_GE(EpsilonOf(Total(charge, high), delta), epsilon * (1 - 1e-9));
  }
  EXPECT_GT(last_fit, 100);
}

// The price of admitting adaptively: never below the fixed schedule's epsilon, and not far above
// it.
TEST(CapacityTest, BudgetEpsilonIsAboveTheJobsOwnByAtMostAFifth) {
  const double delta = 1e-6;
  for (double s : {0.7, 0.9, 1.3, 3.0}) {
    const double charged = EpsilonOf(Total(MakeCharge(0.0341, s), 300), delta);
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer own, AnswerEpsilon({s, 0.0341, 300, 0.99 * delta}));
    EXPECT_GT(charged, own.epsilon);
    EXPECT_LT(charged, 1.2 * own.epsilon);
  }
}

TEST(CapacityTest, CapacityRoundsDownAndMarksOrdersThatHoldNothing) {
  const BudgetCapacity capacity = CapacityOf(0.05, 1e-6);
  ASSERT_EQ(capacity.units.size(), kBudgetOrders.size());
  EXPECT_EQ(capacity.units.front(), -1);
  EXPECT_GT(capacity.units.back(), 0);
  EXPECT_LE(capacity.truncation_delta, 1e-8);
}

TEST(CapacityTest, NothingFitsEverywhere) {
  EXPECT_TRUE(Fits(ChargeTotals{}, CapacityOf(1e-9, 1e-12)));
  EXPECT_EQ(EpsilonOf(ChargeTotals{}, 1e-6), 0);
}

TEST(CapacityTest, TruncationCostsHaveTheirOwnShare) {
  const BudgetCapacity capacity = CapacityOf(8, 1e-6);
  const StepCharge charge = MakeCharge(0.001, 2, 1e-12);
  EXPECT_TRUE(Fits(Total(charge, 9999), capacity));
  EXPECT_FALSE(Fits(Total(charge, 10001), capacity));
}

}  // namespace
}  // namespace sotto::accounting
