// A coordinator, as its clients see it.
#ifndef SOTTO_CLIENT_JOB_CLIENT_H_
#define SOTTO_CLIENT_JOB_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/job_service.grpc.pb.h"
#include "proto/sotto/v1/ledger_service.grpc.pb.h"

namespace sotto::client {

// Blocking calls with a deadline of 30 s each, but for the streams. Errors have the codes of the
// service's .proto, and UNAVAILABLE when the coordinator cannot be reached. Thread-safe.
class JobClient {
 public:
  // `address` is "unix:/path" or "host:port". UNAVAILABLE when nobody answers within `timeout`.
  static absl::StatusOr<std::unique_ptr<JobClient>> Connect(const std::string& address,
                                                            absl::Duration timeout);

  absl::StatusOr<v1::SubmitJobResponse> Submit(const v1::SubmitJobRequest& request);
  absl::StatusOr<v1::Job> Get(const std::string& id);
  absl::StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> Cancel(const std::string& id);
  absl::StatusOr<v1::Job> Pause(const std::string& id);
  absl::StatusOr<v1::Job> Resume(const v1::ResumeJobRequest& request);
  absl::StatusOr<v1::GetServerInfoResponse> ServerInfo();

  absl::StatusOr<v1::Dataset> RegisterDataset(const v1::RegisterDatasetRequest& request);
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name);
  absl::StatusOr<v1::ListDatasetsResponse> ListDatasets(const v1::ListDatasetsRequest& request);
  absl::StatusOr<v1::ListChargesResponse> ListCharges(const v1::ListChargesRequest& request);
  absl::StatusOr<v1::VerifyLedgerResponse> VerifyLedger();

  struct WatchOptions {
    std::string id;
    int64_t after_sequence = 0;
    bool steward = false;
    absl::Duration reconnect = absl::Seconds(60);  // how long a lost coordinator is waited for
    absl::Time deadline = absl::InfiniteFuture();
    // Asked whenever the stream broke: an error ends the watch with it, since nobody will answer
    // again. Unset: always OK.
    std::function<absl::Status()> may_return;
  };
  // Gives every event once, in order, from `after_sequence` + 1 on, until the one that ends the
  // job; a broken stream is taken up again where it ended. OK only after that last event.
  // CANCELLED: Interrupt(). DEADLINE_EXCEEDED: the deadline. UNAVAILABLE: the coordinator stayed
  // away for `reconnect`. Else what `may_return` says.
  absl::Status Watch(const WatchOptions& options,
                     const std::function<void(const v1::JobEvent&)>& on_event);

  // Gives the log in pieces of whole lines.
  absl::Status Logs(const v1::GetLogsRequest& request,
                    const std::function<void(const v1::GetLogsResponse&)>& on_piece);

  // Ends a Watch or Logs in flight, and later ones at once, with CANCELLED.
  void Interrupt() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit JobClient(std::shared_ptr<grpc::Channel> channel);

  struct WatchProgress {
    int64_t sequence = 0;  // of the last event that was given out
    bool is_over = false;
  };
  // One stream of Watch.
  absl::Status WatchOnce(const WatchOptions& options,
                         const std::function<void(const v1::JobEvent&)>& on_event,
                         WatchProgress& progress);
  // Makes `context` the one that Interrupt() cancels; CANCELLED when it was called before.
  absl::Status BeginStream(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndStream() ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsInterrupted() ABSL_LOCKS_EXCLUDED(mutex_);
  void AwaitInterrupt(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::JobService::Stub> jobs_;
  const std::unique_ptr<v1::LedgerService::Stub> ledger_;

  Mutex mutex_;
  grpc::ClientContext* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool is_interrupted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_JOB_CLIENT_H_
