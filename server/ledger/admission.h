// The decision whether a reservation fits a budget.
#ifndef SOTTO_SERVER_LEDGER_ADMISSION_H_
#define SOTTO_SERVER_LEDGER_ADMISSION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/ledger/account.h"
#include "server/ledger/ledger.h"

namespace sotto::ledger {

// Pure. RESOURCE_EXHAUSTED with a BudgetRefusal, or INVALID_ARGUMENT: see Ledger::Reserve.
absl::Status DecideAdmission(const ReservationRequest& request, const v1::Dataset& dataset,
                             const DatasetTotals& totals);

// How many of the job's compositions, from its first on, fit beside `reserved`; 0: none.
int64_t LargestAdmissibleSteps(const accounting::ChargeTotals& reserved, const JobCharge& charge,
                               const v1::Dataset& dataset);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ADMISSION_H_
