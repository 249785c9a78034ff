// The dataset registry on the coordinator's database.
#ifndef SOTTO_SERVER_LEDGER_SQLITE_DATASET_REGISTRY_H_
#define SOTTO_SERVER_LEDGER_SQLITE_DATASET_REGISTRY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/database/work_queue.h"
#include "server/ledger/dataset_registry.h"

namespace sotto::ledger {

// Thread-safe. Each call is one request of the ledger on the database.
class SqliteDatasetRegistry : public DatasetRegistry {
 public:
  // Both outlive this, and the database's threads do not outlive it.
  SqliteDatasetRegistry(database::WorkQueue& database, Ledger& ledger)
      : database_(database), ledger_(ledger) {}

  void Register(v1::Dataset dataset, Done<v1::Dataset> done) override;
  void Get(std::string name, Done<v1::Dataset> done) override;
  void List(std::string after_name, int limit, Done<std::vector<v1::Dataset>> done) override;
  void FindContent(std::string sha256, Done<std::optional<std::string>> done) override;
  void CheckReserve(ReservationRequest request, Done<v1::Dataset> done) override;
  void ListEntries(std::string dataset, int64_t after_row, int limit,
                   Done<EntryPage> done) override;
  void Verify(Done<v1::VerifyLedgerResponse> done) override;

 private:
  database::WorkQueue& database_;
  Ledger& ledger_;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_SQLITE_DATASET_REGISTRY_H_
