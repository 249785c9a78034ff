// Blocking calls of the coordinator's services.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_CLIENT_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/sotto/v1/job_service.grpc.pb.h"
#include "proto/sotto/v1/ledger_service.grpc.pb.h"

namespace sotto::integration {

// Thread-safe. Calls wait up to half a minute for a coordinator, so that one that is being
// restarted is not an error.
class ServiceClient {
 public:
  explicit ServiceClient(const std::string& address);

  absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest& request);
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name);
  absl::StatusOr<std::vector<v1::LedgerEntry>> ListCharges(const std::string& dataset);
  absl::Status VerifyLedger();
  absl::StatusOr<v1::Job> Submit(const v1::JobSpec& spec, const std::string& request_id = "");
  absl::StatusOr<v1::Job> GetJob(const std::string& id);
  absl::StatusOr<v1::Job> Cancel(const std::string& id);
  absl::StatusOr<v1::Job> Pause(const std::string& id);
  absl::StatusOr<v1::Job> Resume(const std::string& id, int workers, v1::Strategy strategy);

  // Hands every event after `after_sequence` to `on_event` until the job has ended, over as many
  // streams as that takes. `on_event` returns false to stop. Errors: those that are not the
  // coordinator's absence.
  absl::Status Watch(const std::string& id, int64_t after_sequence,
                     const std::function<bool(const v1::JobEvent&)>& on_event);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::LedgerService::Stub> ledger_;
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_CLIENT_H_
