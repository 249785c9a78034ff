// What the API does with datasets and the ledger, without seeing the database.
#ifndef SOTTO_SERVER_LEDGER_DATASET_REGISTRY_H_
#define SOTTO_SERVER_LEDGER_DATASET_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/ledger/ledger.h"

namespace sotto::ledger {

// Thread-safe; no method blocks. Each call is one transaction of its own; errors are the Ledger's.
// `done` runs once, on a thread of the coordinator (after the commit, for writes), and must not
// block.
class DatasetRegistry {
 public:
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;

  virtual ~DatasetRegistry() = default;

  // Gives the dataset as stored.
  virtual void Register(v1::Dataset dataset, Done<v1::Dataset> done) = 0;
  virtual void Get(std::string name, Done<v1::Dataset> done) = 0;
  virtual void List(std::string after_name, int limit, Done<std::vector<v1::Dataset>> done) = 0;
  virtual void FindContent(std::string sha256, Done<std::optional<std::string>> done) = 0;
  // Would this be admitted now? For validate_only. Gives the dataset with its balances.
  virtual void CheckReserve(ReservationRequest request, Done<v1::Dataset> done) = 0;
  virtual void ListEntries(std::string dataset, int64_t after_row, int limit,
                           Done<EntryPage> done) = 0;
  virtual void Verify(Done<v1::VerifyLedgerResponse> done) = 0;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_DATASET_REGISTRY_H_
