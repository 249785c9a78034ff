#include "server/ledger/account.h"

#include <algorithm>
#include <utility>

namespace sotto::ledger {

void Account::Commit(const SegmentCounts& counts) {
  for (size_t i = 0; i < counts.size(); ++i) committed_by_segment[i] += counts[i];
  committed += SumOf(counts);
}

void Account::Return(const SegmentCounts& counts) {
  for (size_t i = 0; i < counts.size(); ++i) committed_by_segment[i] -= counts[i];
  committed -= SumOf(counts);
}

Account OpenAccount(std::string job, std::string dataset, JobCharge charge) {
  Account account;
  account.job = std::move(job);
  account.dataset = std::move(dataset);
  account.reserved = SumOf(charge.reserved);
  account.committed_by_segment.resize(charge.reserved.size(), 0);
  account.charge = std::move(charge);
  return account;
}

namespace {

SegmentCounts Difference(SegmentCounts a, const SegmentCounts& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

bool CoversMore(const Account& account, SegmentCounts counts) {
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += account.committed_by_segment[i];
  return account.charge.Covers(counts);
}

}  // namespace

GrantedSteps CommitSteps(const std::vector<GrantedSteps>& grants, int64_t first_step,
                         int64_t end_step, Account& account, int64_t& cost) {
  if (grants.empty()) account.earlier_run_end = account.run_end;
  const int64_t attempt_first = grants.empty() ? first_step : grants.front().first_step;
  const SegmentCounts paid = account.CostOf(attempt_first, first_step);
  const auto cost_to = [&](int64_t end) {
    return Difference(account.CostOf(attempt_first, end), paid);
  };
  int64_t covered = first_step;
  int64_t beyond = end_step + 1;
  while (beyond - covered > 1) {
    const int64_t middle = covered + (beyond - covered) / 2;
    (CoversMore(account, cost_to(middle)) ? covered : beyond) = middle;
  }
  const SegmentCounts counts = cost_to(covered);
  cost = SumOf(counts);
  account.Commit(counts);
  if (covered > first_step) account.run_end = std::max(account.run_end, covered);
  return {first_step, covered};
}

GrantedSteps ReturnSteps(const std::vector<GrantedSteps>& grants, int64_t started_end,
                         Account& account, int64_t& count) {
  count = 0;
  if (grants.empty()) return {};
  const int64_t attempt_first = grants.front().first_step;
  const int64_t end = grants.back().end_step;
  const int64_t first = std::clamp(started_end, attempt_first, end);
  const SegmentCounts counts =
      Difference(account.CostOf(attempt_first, end), account.CostOf(attempt_first, first));
  count = SumOf(counts);
  account.Return(counts);
  account.run_end = std::max(account.earlier_run_end, first > attempt_first ? first : 0);
  return {first, end};
}

DatasetTotals TotalsOf(const std::vector<Account>& accounts) {
  DatasetTotals totals;
  for (const Account& account : accounts) {
    const accounting::ChargeTotals committed =
        account.charge.TotalsOf(account.committed_by_segment);
    totals.committed.Add(committed);
    totals.reserved.Add(account.settled ? committed : account.charge.ReservedTotals());
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
