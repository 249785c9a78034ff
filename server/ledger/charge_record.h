// Charges and datasets as ledger entries hold them.
#ifndef SOTTO_SERVER_LEDGER_CHARGE_RECORD_H_
#define SOTTO_SERVER_LEDGER_CHARGE_RECORD_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/ledger/job_charge.h"

namespace sotto::ledger {

// With the steps that it reserves.
void RecordCharge(const JobCharge& charge, v1::LedgerEntry& entry);
// DATA_LOSS: segments that are none.
absl::StatusOr<JobCharge> ChargeOf(const v1::LedgerEntry& entry);

// Canonical text of everything a registration fixes; two datasets differ exactly when their texts
// do. Balances and the time are not part of it.
std::string RegistrationText(const v1::Dataset& dataset);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_CHARGE_RECORD_H_
