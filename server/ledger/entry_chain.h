// The append-only, hash-chained table of ledger entries.
#ifndef SOTTO_SERVER_LEDGER_ENTRY_CHAIN_H_
#define SOTTO_SERVER_LEDGER_ENTRY_CHAIN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/database/transaction.h"

namespace sotto::ledger {

struct ChainHead {
  int64_t rows = 0;
  std::string hash;  // 32 bytes; zeros before the first row
};

// Appends `entry`; its row and hashes are filled in. The hash of a row is SHA-256 over the previous
// row's hash and the bytes of the entry as they are stored, which hold its row number and
// everything else but the hashes. DATA_LOSS: the newest row is not the one that the head names.
absl::Status AppendEntry(database::Transaction& transaction, v1::LedgerEntry entry);

// Entries of `dataset` ("": of all) after row `after_row`, ascending, `limit` at most. DATA_LOSS:
// unreadable.
absl::StatusOr<std::vector<v1::LedgerEntry>> ReadEntries(database::Transaction& transaction,
                                                         absl::string_view dataset,
                                                         int64_t after_row, int limit);

// Recomputes every hash and calls `visit` with every entry, in order. DATA_LOSS names the first bad
// row: missing, inserted, moved or edited, or one beyond or short of the head. Errors of `visit`
// are passed on.
absl::StatusOr<ChainHead> WalkChain(
    database::Transaction& transaction,
    const std::function<absl::Status(const v1::LedgerEntry&)>& visit);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ENTRY_CHAIN_H_
