#include "server/ledger/entry_chain.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto::ledger {
namespace {

using database::Blob;
using database::Row;
using database::Transaction;

constexpr size_t kHashSize = 32;
constexpr int kRowsPerRead = 1000;

std::string ChainHash(absl::string_view previous_hash, absl::string_view entry) {
  crypto::Sha256 hash;
  hash.Update(previous_hash);
  hash.Update(entry);
  const crypto::Sha256Digest digest = hash.Finish();
  return std::string(digest.begin(), digest.end());
}

absl::Status BadRowError(int64_t row, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("ledger row ", row, ": ", what));
}

absl::StatusOr<ChainHead> ReadHead(Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT rows, hash FROM head WHERE id = 1"));
  if (rows.empty()) return ChainHead{0, std::string(kHashSize, '\0')};
  return ChainHead{rows[0][0].int64(), rows[0][1].blob()};
}

// From columns (row, dataset, entry, hash), with `previous_hash` filled in.
absl::StatusOr<v1::LedgerEntry> EntryOf(const Row& columns, absl::string_view previous_hash) {
  const int64_t row = columns[0].int64();
  v1::LedgerEntry entry;
  if (!entry.ParseFromString(columns[2].blob())) return BadRowError(row, "cannot be read");
  if (entry.row() != row) {
    return BadRowError(row, absl::StrCat("holds the entry of row ", entry.row()));
  }
  if (entry.dataset() != columns[1].text()) return BadRowError(row, "its dataset was edited");
  entry.set_previous_hash(absl::BytesToHexString(previous_hash));
  entry.set_hash(absl::BytesToHexString(columns[3].blob()));
  return entry;
}

}  // namespace

absl::Status AppendEntry(Transaction& transaction, v1::LedgerEntry entry) {
  ASSIGN_OR_RETURN(const ChainHead head, ReadHead(transaction));
  ASSIGN_OR_RETURN(const std::vector<Row> newest,
                   transaction.Query("SELECT row, hash FROM entries ORDER BY row DESC LIMIT 1"));
  const int64_t newest_row = newest.empty() ? 0 : newest[0][0].int64();
  if (newest_row != head.rows || (head.rows > 0 && newest[0][1].blob() != head.hash)) {
    return BadRowError(head.rows, "the ledger does not end with it; run `sotto ledger verify`");
  }
  entry.set_row(head.rows + 1);
  entry.clear_previous_hash();
  entry.clear_hash();
  const std::string bytes = entry.SerializeAsString();
  const std::string hash = ChainHash(head.hash, bytes);
  RETURN_IF_ERROR(
      transaction.Execute("INSERT INTO entries (row, dataset, entry, hash) VALUES (?1, ?2, ?3, ?4)",
                          {entry.row(), entry.dataset(), Blob{bytes}, Blob{hash}}));
  return transaction.Execute("INSERT OR REPLACE INTO head (id, rows, hash) VALUES (1, ?1, ?2)",
                             {entry.row(), Blob{hash}});
}

absl::StatusOr<std::vector<v1::LedgerEntry>> ReadEntries(Transaction& transaction,
                                                         absl::string_view dataset,
                                                         int64_t after_row, int limit) {
  // A join gives the hash of the row before, which need not be of the same dataset.
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query(
          "SELECT entries.row, entries.dataset, entries.entry, entries.hash, previous.hash "
          "FROM entries LEFT JOIN entries AS previous ON previous.row = entries.row - 1 "
          "WHERE entries.row > ?1 AND (?2 = '' OR entries.dataset = ?2) "
          "ORDER BY entries.row LIMIT ?3",
          {after_row, dataset, limit}));
  std::vector<v1::LedgerEntry> entries;
  for (const Row& row : rows) {
    const std::string previous = row[4].is_null() ? std::string(kHashSize, '\0') : row[4].blob();
    ASSIGN_OR_RETURN(v1::LedgerEntry entry, EntryOf(row, previous));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::StatusOr<ChainHead> WalkChain(
    Transaction& transaction, const std::function<absl::Status(const v1::LedgerEntry&)>& visit) {
  ASSIGN_OR_RETURN(const ChainHead head, ReadHead(transaction));
  ChainHead at{0, std::string(kHashSize, '\0')};
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<Row> rows,
                     transaction.Query("SELECT row, dataset, entry, hash FROM entries "
                                       "WHERE row > ?1 ORDER BY row LIMIT ?2",
                                       {at.rows, kRowsPerRead}));
    if (rows.empty()) break;
    for (const Row& row : rows) {
      if (row[0].int64() != at.rows + 1) return BadRowError(at.rows + 1, "is missing");
      ASSIGN_OR_RETURN(const v1::LedgerEntry entry, EntryOf(row, at.hash));
      const std::string hash = ChainHash(at.hash, row[2].blob());
      if (hash != row[3].blob()) {
        return BadRowError(entry.row(),
                           "its hash does not match: it, or the row before, was edited");
      }
      RETURN_IF_ERROR(visit(entry));
      at = {entry.row(), hash};
    }
  }
  if (at.rows < head.rows) return BadRowError(at.rows + 1, "is missing");
  if (at.rows > head.rows) return BadRowError(head.rows + 1, "stands beyond the recorded end");
  if (at.hash != head.hash) return BadRowError(at.rows, "is not the recorded end");
  return at;
}

}  // namespace sotto::ledger
