#include "server/ledger/job_charge.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"

namespace sotto::ledger {
namespace {

// Of a job that costs no budget: its re-runs are limited by the restarts alone.
constexpr int64_t kUnlimitedSteps = int64_t{1} << 40;

}  // namespace

int64_t SumOf(const SegmentCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

accounting::ChargeTotals JobCharge::TotalsOf(const SegmentCounts& counts) const {
  accounting::ChargeTotals totals;
  for (size_t i = 0; i < charges.size(); ++i) totals.Add(charges[i], counts[i]);
  return totals;
}

bool JobCharge::Covers(const SegmentCounts& counts) const {
  if (SumOf(counts) > SumOf(reserved)) return false;
  for (size_t order = 0; order < charges[0].units.size(); ++order) {
    __int128 cost = 0;
    __int128 paid = 0;
    for (size_t i = 0; i < charges.size(); ++i) {
      cost += static_cast<__int128>(charges[i].units[order]) * counts[i];
      paid += static_cast<__int128>(charges[i].units[order]) * reserved[i];
    }
    if (cost > paid) return false;
  }
  return true;
}

bool operator==(const JobCharge& a, const JobCharge& b) {
  const auto same = [](const accounting::StepCharge& x, const accounting::StepCharge& y) {
    return x.units == y.units && x.truncation_delta == y.truncation_delta;
  };
  return a.compositions == b.compositions && a.reserved == b.reserved &&
         std::equal(a.charges.begin(), a.charges.end(), b.charges.begin(), b.charges.end(), same);
}

JobCharge UniformCharge(const accounting::StepCharge& step_charge, int64_t steps) {
  return {accounting::Compositions(), {step_charge}, {steps}};
}

absl::StatusOr<JobCharge> JobChargeOf(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  const bool charged = plan.dataset().budgeted() && !privacy.not_private();
  std::vector<int64_t> first_steps;
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    first_steps.push_back(segment.first_step());
  }
  JobCharge charge;
  ASSIGN_OR_RETURN(
      charge.compositions,
      accounting::Compositions::Create(std::move(first_steps),
                                       std::max<int64_t>(1, privacy.sampler().steps_per_epoch())));
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    accounting::StepCharge step;
    if (charged) {
      step.units.assign(segment.step_charge().begin(), segment.step_charge().end());
      // The plan states the job's; the ledger adds up compositions.
      step.truncation_delta = privacy.truncation_delta() /
                              static_cast<double>(std::max<int64_t>(privacy.charged_steps(), 1));
    }
    charge.charges.push_back(std::move(step));
    charge.reserved.push_back(charged ? segment.charged_steps() : kUnlimitedSteps);
  }
  return charge;
}

}  // namespace sotto::ledger
