// The check behind `sotto ledger verify`.
#ifndef SOTTO_SERVER_LEDGER_VERIFY_LEDGER_H_
#define SOTTO_SERVER_LEDGER_VERIFY_LEDGER_H_

#include "absl/status/statusor.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/database/transaction.h"

namespace sotto::ledger {

// Walks the chain, replays it, and compares what it adds up to with the tables: see Ledger::Verify.
// What it cannot see: someone who rewrites the file from some row on, hashes included. For that,
// keep head hashes elsewhere.
absl::StatusOr<v1::VerifyLedgerResponse> VerifyLedger(database::Transaction& transaction);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_VERIFY_LEDGER_H_
