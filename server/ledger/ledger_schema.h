// The tables of the ledger.
#ifndef SOTTO_SERVER_LEDGER_LEDGER_SCHEMA_H_
#define SOTTO_SERVER_LEDGER_LEDGER_SCHEMA_H_

#include "server/database/schema.h"

namespace sotto::ledger {

// `entries` is the ledger; what is true follows from it alone. `datasets`, `accounts` and `grants`
// are what its rows add up to, kept so that no request needs to read them all; Ledger::Verify
// compares.
database::Schema LedgerSchema();

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_LEDGER_SCHEMA_H_
