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

// The largest number of steps up to `limit` that fits beside `reserved`; 0: none.
int64_t LargestAdmissibleSteps(const accounting::ChargeTotals& reserved,
                               const accounting::StepCharge& step_charge,
                               const v1::Dataset& dataset, int64_t limit);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ADMISSION_H_
