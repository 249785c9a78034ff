// LedgerService: datasets, budgets and charges.
#ifndef SOTTO_SERVER_API_LEDGER_SERVICE_H_
#define SOTTO_SERVER_API_LEDGER_SERVICE_H_

#include <atomic>

#include <grpcpp/support/server_callback.h>

#include "proto/sotto/v1/ledger_service.grpc.pb.h"
#include "server/api/task_thread.h"
#include "server/ledger/dataset_registry.h"

namespace sotto::api {

// Callers with every role also get the hashes of files and ledger rows. Thread-safe.
class LedgerService final : public v1::LedgerService::CallbackService {
 public:
  // `datasets` outlives the service.
  explicit LedgerService(ledger::DatasetRegistry& datasets) : datasets_(datasets) {}

  grpc::ServerUnaryReactor* RegisterDataset(grpc::CallbackServerContext* context,
                                            const v1::RegisterDatasetRequest* request,
                                            v1::Dataset* response) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context,
                                         const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* ListCharges(grpc::CallbackServerContext* context,
                                        const v1::ListChargesRequest* request,
                                        v1::ListChargesResponse* response) override;
  grpc::ServerUnaryReactor* VerifyLedger(grpc::CallbackServerContext* context,
                                         const v1::VerifyLedgerRequest* request,
                                         v1::VerifyLedgerResponse* response) override;

  // Registrations fail with UNAVAILABLE from now on.
  void Drain() { draining_ = true; }

 private:
  ledger::DatasetRegistry& datasets_;
  std::atomic<bool> draining_ = false;
  TaskThread intake_thread_;  // Last: its tasks use the rest.
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_LEDGER_SERVICE_H_
