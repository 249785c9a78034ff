#include "server/ledger/account_table.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "server/ledger/charge_record.h"

namespace sotto::ledger {
namespace {

using database::Blob;
using database::Row;
using database::Transaction;
using database::Value;

constexpr char kAccountColumns[] =
    "job, dataset, charge, reserved, committed, released, attempt, returned, settled, "
    "committed_by_segment, run_end, earlier_run_end";

// A list of integers, separated by spaces: SQLite has no arrays.
std::string TextOf(const SegmentCounts& counts) { return absl::StrJoin(counts, " "); }

// Rows of before there were segments have none.
bool ParseCounts(const std::string& text, int64_t committed, SegmentCounts& counts) {
  if (text.empty()) {
    counts = {committed};
    return true;
  }
  for (absl::string_view part : absl::StrSplit(text, ' ')) {
    if (!absl::SimpleAtoi(part, &counts.emplace_back())) return false;
  }
  return true;
}

absl::StatusOr<Account> AccountOf(const Row& row) {
  Account account;
  account.job = row[0].text();
  account.dataset = row[1].text();
  v1::LedgerEntry charge;
  if (!charge.ParseFromString(row[2].blob())) {
    return absl::DataLossError(
        absl::StrCat("the ledger's account of ", account.job, " cannot be read"));
  }
  account.reserved = row[3].int64();
  if (charge.steps() == 0) charge.set_steps(account.reserved);  // of before there were segments
  ASSIGN_OR_RETURN(account.charge, ChargeOf(charge));
  account.committed = row[4].int64();
  account.released = row[5].int64();
  account.attempt = row[6].int64();
  if (!row[7].is_null()) account.returned = row[7].int64();
  account.settled = row[8].int64() != 0;
  account.run_end = row[10].int64();
  account.earlier_run_end = row[11].int64();
  if (!ParseCounts(row[9].text(), account.committed, account.committed_by_segment) ||
      account.committed_by_segment.size() != account.charge.reserved.size()) {
    return absl::DataLossError(
        absl::StrCat("the ledger's account of ", account.job, " has unreadable segments"));
  }
  return account;
}

absl::StatusOr<v1::Dataset> DatasetOf(const Value& value, absl::string_view name) {
  v1::Dataset dataset;
  if (dataset.ParseFromString(value.blob())) return dataset;
  return absl::DataLossError(absl::StrCat("the stored dataset '", name, "' cannot be read"));
}

}  // namespace

absl::Status InsertDataset(Transaction& transaction, const v1::Dataset& dataset) {
  return transaction.Execute("INSERT INTO datasets (name, sha256, dataset) VALUES (?1, ?2, ?3)",
                             {dataset.name(), dataset.sha256(), Blob{dataset.SerializeAsString()}});
}

absl::StatusOr<v1::Dataset> ReadDataset(Transaction& transaction, absl::string_view name) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT dataset FROM datasets WHERE name = ?1", {name}));
  if (rows.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no dataset '", name, "'"));
  }
  return DatasetOf(rows[0][0], name);
}

absl::StatusOr<std::vector<v1::Dataset>> ReadDatasets(Transaction& transaction,
                                                      absl::string_view after_name, int limit) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT dataset, name FROM datasets WHERE name > ?1 ORDER BY name LIMIT ?2",
                        {after_name, limit}));
  std::vector<v1::Dataset> datasets;
  for (const Row& row : rows) {
    ASSIGN_OR_RETURN(v1::Dataset dataset, DatasetOf(row[0], row[1].text()));
    datasets.push_back(std::move(dataset));
  }
  return datasets;
}

absl::Status InsertAccount(Transaction& transaction, const Account& account) {
  v1::LedgerEntry charge;
  RecordCharge(account.charge, charge);
  return transaction.Execute(
      "INSERT INTO accounts (job, dataset, charge, reserved, committed_by_segment) "
      "VALUES (?1, ?2, ?3, ?4, ?5)",
      {account.job, account.dataset, Blob{charge.SerializeAsString()}, account.reserved,
       TextOf(account.committed_by_segment)});
}

absl::Status UpdateAccount(Transaction& transaction, const Account& account) {
  return transaction.Execute(
      "UPDATE accounts SET committed = ?2, released = ?3, attempt = ?4, returned = ?5, "
      "settled = ?6, committed_by_segment = ?7, run_end = ?8, earlier_run_end = ?9 "
      "WHERE job = ?1",
      {account.job, account.committed, account.released, account.attempt,
       account.returned.has_value() ? Value(*account.returned) : Value(), account.settled,
       TextOf(account.committed_by_segment), account.run_end, account.earlier_run_end});
}

absl::StatusOr<Account> ReadAccount(Transaction& transaction, absl::string_view job) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query(absl::StrCat("SELECT ", kAccountColumns, " FROM accounts WHERE job = ?1"),
                        {job}));
  if (rows.empty()) {
    return absl::NotFoundError(absl::StrCat("the ledger has no account of ", job));
  }
  return AccountOf(rows[0]);
}

absl::StatusOr<std::vector<Account>> ReadAccountsOf(Transaction& transaction,
                                                    absl::string_view dataset) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query(absl::StrCat("SELECT ", kAccountColumns,
                                     " FROM accounts WHERE dataset = ?1 ORDER BY number"),
                        {dataset}));
  std::vector<Account> accounts;
  for (const Row& row : rows) {
    ASSIGN_OR_RETURN(Account account, AccountOf(row));
    accounts.push_back(std::move(account));
  }
  return accounts;
}

absl::Status InsertGrant(Transaction& transaction, absl::string_view job, int64_t attempt,
                         const GrantedSteps& grant) {
  return transaction.Execute(
      "INSERT INTO grants (job, attempt, first_step, end_step) VALUES (?1, ?2, ?3, ?4)",
      {job, attempt, grant.first_step, grant.end_step});
}

absl::StatusOr<std::vector<GrantedSteps>> ReadGrants(Transaction& transaction,
                                                     absl::string_view job, int64_t attempt) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT first_step, end_step FROM grants "
                                     "WHERE job = ?1 AND attempt = ?2 ORDER BY first_step",
                                     {job, attempt}));
  std::vector<GrantedSteps> grants;
  for (const Row& row : rows) grants.push_back({row[0].int64(), row[1].int64()});
  return grants;
}

}  // namespace sotto::ledger
