// Datasets of SqliteLedger, and what only reads.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "server/ledger/account_table.h"
#include "server/ledger/charge_record.h"
#include "server/ledger/entry_chain.h"
#include "server/ledger/registration.h"
#include "server/ledger/sqlite_ledger.h"
#include "server/ledger/verify_ledger.h"

namespace sotto::ledger {
namespace {

using database::Row;
using database::Transaction;

absl::Status AddBalances(Transaction& transaction, v1::Dataset& dataset) {
  ASSIGN_OR_RETURN(const std::vector<Account> accounts,
                   ReadAccountsOf(transaction, dataset.name()));
  FillBalances(TotalsOf(accounts), dataset);
  return absl::OkStatus();
}

google::protobuf::Timestamp TimestampOf(absl::Time time) {
  const int64_t nanos = absl::ToUnixNanos(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(nanos / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return timestamp;
}

}  // namespace

v1::LedgerEntry SqliteLedger::NewEntry(v1::LedgerEntry::Kind kind, absl::string_view dataset,
                                       absl::string_view job) const {
  v1::LedgerEntry entry;
  entry.set_kind(kind);
  entry.set_dataset(std::string(dataset));
  entry.set_job(std::string(job));
  *entry.mutable_time() = TimestampOf(clock_.Now());
  return entry;
}

absl::Status SqliteLedger::RegisterDataset(Transaction& transaction, const v1::Dataset& dataset) {
  ASSIGN_OR_RETURN(v1::Dataset stored, CheckRegistration(dataset));
  const absl::Status name_known = ReadDataset(transaction, stored.name()).status();
  if (name_known.ok()) {
    return absl::AlreadyExistsError(absl::StrCat("dataset '", stored.name(), "' is registered"));
  }
  if (!absl::IsNotFound(name_known)) return name_known;
  ASSIGN_OR_RETURN(const std::optional<std::string> same,
                   FindContent(transaction, stored.sha256()));
  if (same.has_value()) {
    return absl::AlreadyExistsError(absl::StrCat("the same content is registered as dataset '",
                                                 *same, "' (sha256 ", stored.sha256(),
                                                 "); one file has one budget"));
  }
  v1::LedgerEntry entry = NewEntry(v1::LedgerEntry::DATASET_REGISTERED, stored.name(), /*job=*/"");
  entry.set_detail(RegistrationText(stored));
  *stored.mutable_register_time() = entry.time();
  RETURN_IF_ERROR(InsertDataset(transaction, stored));
  return AppendEntry(transaction, std::move(entry));
}

absl::StatusOr<v1::Dataset> SqliteLedger::GetDataset(Transaction& transaction,
                                                     absl::string_view name) {
  ASSIGN_OR_RETURN(v1::Dataset dataset, ReadDataset(transaction, name));
  RETURN_IF_ERROR(AddBalances(transaction, dataset));
  return dataset;
}

absl::StatusOr<std::vector<v1::Dataset>> SqliteLedger::ListDatasets(Transaction& transaction,
                                                                    absl::string_view after_name,
                                                                    int limit) {
  ASSIGN_OR_RETURN(std::vector<v1::Dataset> datasets, ReadDatasets(transaction, after_name, limit));
  for (v1::Dataset& dataset : datasets) RETURN_IF_ERROR(AddBalances(transaction, dataset));
  return datasets;
}

absl::StatusOr<std::optional<std::string>> SqliteLedger::FindContent(Transaction& transaction,
                                                                     absl::string_view sha256) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT name FROM datasets WHERE sha256 = ?1", {sha256}));
  if (rows.empty()) return std::optional<std::string>();
  return std::optional<std::string>(rows[0][0].text());
}

absl::StatusOr<EntryPage> SqliteLedger::ListEntries(Transaction& transaction,
                                                    absl::string_view dataset, int64_t after_row,
                                                    int limit) {
  EntryPage page;
  ASSIGN_OR_RETURN(page.entries, ReadEntries(transaction, dataset, after_row, limit + 1));
  if (static_cast<int>(page.entries.size()) > limit) {
    page.entries.pop_back();
    page.next_after_row = page.entries.back().row();
  }
  return page;
}

absl::StatusOr<v1::VerifyLedgerResponse> SqliteLedger::Verify(Transaction& transaction) {
  return VerifyLedger(transaction);
}

}  // namespace sotto::ledger
