#include "server/ledger/sqlite_dataset_registry.h"

#include <utility>

#include "common/base/status_macros.h"
#include "server/database/read_value.h"

namespace sotto::ledger {

using database::ReadValue;
using database::SubmitValue;
using database::Transaction;

void SqliteDatasetRegistry::Register(v1::Dataset dataset, Done<v1::Dataset> done) {
  SubmitValue<v1::Dataset>(
      database_,
      [this,
       dataset = std::move(dataset)](Transaction& transaction) -> absl::StatusOr<v1::Dataset> {
        RETURN_IF_ERROR(ledger_.RegisterDataset(transaction, dataset));
        return ledger_.GetDataset(transaction, dataset.name());
      },
      std::move(done));
}

void SqliteDatasetRegistry::Get(std::string name, Done<v1::Dataset> done) {
  ReadValue<v1::Dataset>(
      database_,
      [this, name](Transaction& transaction) { return ledger_.GetDataset(transaction, name); },
      std::move(done));
}

void SqliteDatasetRegistry::List(std::string after_name, int limit,
                                 Done<std::vector<v1::Dataset>> done) {
  ReadValue<std::vector<v1::Dataset>>(
      database_,
      [this, after_name, limit](Transaction& transaction) {
        return ledger_.ListDatasets(transaction, after_name, limit);
      },
      std::move(done));
}

void SqliteDatasetRegistry::FindContent(std::string sha256, Done<std::optional<std::string>> done) {
  ReadValue<std::optional<std::string>>(
      database_,
      [this, sha256](Transaction& transaction) { return ledger_.FindContent(transaction, sha256); },
      std::move(done));
}

void SqliteDatasetRegistry::CheckReserve(ReservationRequest request, Done<v1::Dataset> done) {
  ReadValue<v1::Dataset>(
      database_,
      [this,
       request = std::move(request)](Transaction& transaction) -> absl::StatusOr<v1::Dataset> {
        RETURN_IF_ERROR(ledger_.CheckReserve(transaction, request));
        return ledger_.GetDataset(transaction, request.dataset);
      },
      std::move(done));
}

void SqliteDatasetRegistry::ListEntries(std::string dataset, int64_t after_row, int limit,
                                        Done<EntryPage> done) {
  ReadValue<EntryPage>(
      database_,
      [this, dataset, after_row, limit](Transaction& transaction) {
        return ledger_.ListEntries(transaction, dataset, after_row, limit);
      },
      std::move(done));
}

void SqliteDatasetRegistry::Verify(Done<v1::VerifyLedgerResponse> done) {
  ReadValue<v1::VerifyLedgerResponse>(
      database_, [this](Transaction& transaction) { return ledger_.Verify(transaction); },
      std::move(done));
}

}  // namespace sotto::ledger
