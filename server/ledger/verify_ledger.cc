#include "server/ledger/verify_ledger.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/ledger/account_table.h"
#include "server/ledger/entry_chain.h"
#include "server/ledger/replay.h"

namespace sotto::ledger {
namespace {

using database::Row;
using database::Transaction;

absl::Status AccountError(const std::string& job, absl::string_view what, int64_t stored,
                          int64_t replayed) {
  return absl::DataLossError(absl::StrCat("the ledger's account of ", job, " has ", what, " ",
                                          stored, ", but its rows add up to ", replayed));
}

absl::Status CompareAccount(const Account& stored, const Account& replayed) {
  if (stored.dataset != replayed.dataset) {
    return absl::DataLossError(absl::StrCat("the ledger's account of ", stored.job,
                                            " is one of dataset '", stored.dataset,
                                            "', but was reserved on '", replayed.dataset, "'"));
  }
  if (!(stored.charge == replayed.charge)) {
    return absl::DataLossError(absl::StrCat("the ledger's account of ", stored.job,
                                            " has another step charge than its reservation"));
  }
  if (stored.committed_by_segment != replayed.committed_by_segment) {
    return absl::DataLossError(absl::StrCat("the ledger's account of ", stored.job,
                                            " has other committed segments than its rows"));
  }
  // What decides whether a resumed epoch is paid. Accounts of before there were epochs have none.
  if (stored.charge.compositions.steps_per_epoch() > 1 && stored.run_end != replayed.run_end) {
    return AccountError(stored.job, "run_end", stored.run_end, replayed.run_end);
  }
  struct Field {
    absl::string_view name;
    int64_t stored;
    int64_t replayed;
  };
  for (const Field& field :
       {Field{"reserved", stored.reserved, replayed.reserved},
        Field{"committed", stored.committed, replayed.committed},
        Field{"released", stored.released, replayed.released},
        Field{"settled", stored.settled, replayed.settled},
        // A started attempt without grants has no row.
        Field{"attempt", std::max(stored.attempt, replayed.attempt), stored.attempt}}) {
    if (field.stored != field.replayed) {
      return AccountError(stored.job, field.name, field.stored, field.replayed);
    }
  }
  if (stored.attempt == replayed.attempt && replayed.returned.has_value() &&
      stored.returned != replayed.returned) {
    return AccountError(stored.job, "returned", stored.returned.value_or(0), *replayed.returned);
  }
  return absl::OkStatus();
}

absl::Status CompareAccounts(Transaction& transaction, const Replay& replay) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows, transaction.Query("SELECT job FROM accounts"));
  for (const Row& row : rows) {
    const std::string job = row[0].text();
    const auto replayed = replay.accounts().find(job);
    if (replayed == replay.accounts().end()) {
      return absl::DataLossError(
          absl::StrCat("the account of ", job, " is in no row of the ledger"));
    }
    ASSIGN_OR_RETURN(const Account stored, ReadAccount(transaction, job));
    RETURN_IF_ERROR(CompareAccount(stored, replayed->second));
  }
  if (rows.size() != replay.accounts().size()) {
    return absl::DataLossError(absl::StrCat("the ledger's rows open ", replay.accounts().size(),
                                            " accounts, but ", rows.size(), " are stored"));
  }
  return absl::OkStatus();
}

absl::Status CompareGrants(Transaction& transaction, const Replay& replay) {
  size_t num_grants = 0;
  for (const auto& [key, grants] : replay.grants()) {
    const auto& [job, attempt] = key;
    ASSIGN_OR_RETURN(const std::vector<GrantedSteps> stored, ReadGrants(transaction, job, attempt));
    if (stored != grants) {
      return absl::DataLossError(absl::StrCat("the stored grants of attempt ", attempt, " of ", job,
                                              " are not those of the ledger's rows"));
    }
    num_grants += grants.size();
  }
  ASSIGN_OR_RETURN(const std::vector<Row> rows, transaction.Query("SELECT count(*) FROM grants"));
  if (rows[0][0].int64() != static_cast<int64_t>(num_grants)) {
    return absl::DataLossError("a stored grant is in no row of the ledger");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::VerifyLedgerResponse> VerifyLedger(Transaction& transaction) {
  ASSIGN_OR_RETURN(
      const std::vector<v1::Dataset> stored,
      ReadDatasets(transaction, /*after_name=*/"", /*limit=*/std::numeric_limits<int>::max()));
  std::map<std::string, v1::Dataset> datasets;
  for (const v1::Dataset& dataset : stored) datasets[dataset.name()] = dataset;
  Replay replay(std::move(datasets));
  ASSIGN_OR_RETURN(const ChainHead head,
                   WalkChain(transaction, [&replay](const v1::LedgerEntry& entry) {
                     return replay.Apply(entry);
                   }));
  RETURN_IF_ERROR(replay.CheckAllRegistered());
  RETURN_IF_ERROR(CompareAccounts(transaction, replay));
  RETURN_IF_ERROR(CompareGrants(transaction, replay));
  v1::VerifyLedgerResponse response;
  response.set_rows(head.rows);
  response.set_head_hash(absl::BytesToHexString(head.hash));
  for (const v1::Dataset& dataset : replay.Datasets()) *response.add_datasets() = dataset;
  return response;
}

}  // namespace sotto::ledger
