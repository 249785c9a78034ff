// What the steps of a job cost, and what of it is reserved.
#ifndef SOTTO_SERVER_LEDGER_JOB_CHARGE_H_
#define SOTTO_SERVER_LEDGER_JOB_CHARGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "server/accounting/charge.h"
#include "server/accounting/compositions.h"

namespace sotto::ledger {

// Compositions by noise segment. For most jobs: one segment, and every step is a composition.
using SegmentCounts = std::vector<int64_t>;

int64_t SumOf(const SegmentCounts& counts);

struct JobCharge {
  accounting::Compositions compositions;
  std::vector<accounting::StepCharge> charges;  // of one composition, by segment
  SegmentCounts reserved;

  accounting::ChargeTotals TotalsOf(const SegmentCounts& counts) const;
  accounting::ChargeTotals ReservedTotals() const { return TotalsOf(reserved); }

  // Are so many compositions paid by the reservation? At every order their charges add up to at
  // most the reserved ones', and there are no more of them. Which segments they are in does not
  // matter: re-runs of costly steps use up what was reserved for others.
  bool Covers(const SegmentCounts& counts) const;

  friend bool operator==(const JobCharge&, const JobCharge&);
};

// One segment, every step a composition of this charge.
JobCharge UniformCharge(const accounting::StepCharge& step_charge, int64_t steps);

// What a plan's job reserves. Jobs that cost no budget (not private, or on data without one) have
// no units, and as many compositions as their restarts need. INVALID_ARGUMENT: segments that are
// none (planning makes no such plan).
absl::StatusOr<JobCharge> JobChargeOf(const v1::JobPlan& plan);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_JOB_CHARGE_H_
