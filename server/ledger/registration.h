// What a dataset must be to be registered.
#ifndef SOTTO_SERVER_LEDGER_REGISTRATION_H_
#define SOTTO_SERVER_LEDGER_REGISTRATION_H_

#include "absl/status/statusor.h"
#include "proto/sotto/v1/ledger_service.pb.h"

namespace sotto::ledger {

// The dataset as it is stored: an unset adjacency is add_or_remove_one, an unset privacy unit the
// only one there is, balances are cleared. INVALID_ARGUMENT lists every violated rule.
absl::StatusOr<v1::Dataset> CheckRegistration(v1::Dataset dataset);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_REGISTRATION_H_
