// JobService: submit, look, watch, pause, resume, cancel.
#ifndef SOTTO_SERVER_API_JOB_SERVICE_H_
#define SOTTO_SERVER_API_JOB_SERVICE_H_

#include <atomic>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "proto/sotto/v1/job_service.grpc.pb.h"
#include "server/api/submission.h"
#include "server/api/task_thread.h"
#include "server/api/watch_hub.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// Thin: checks the request and the caller's role, asks scheduler or store, filters the answer.
// Thread-safe.
class JobService final : public v1::JobService::CallbackService {
 public:
  struct Options {
    // These outlive the service.
    scheduler::Scheduler* scheduler = nullptr;
    store::JobReader* jobs = nullptr;
    Clock* clock = nullptr;
    Submission::Options submission;
    std::string state_dir;
    std::string version;
    int protocol_version = 1;
  };

  explicit JobService(const Options& options);

  grpc::ServerUnaryReactor* SubmitJob(grpc::CallbackServerContext* context,
                                      const v1::SubmitJobRequest* request,
                                      v1::SubmitJobResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context,
                                     const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::ResumeJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) override;
  grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(
      grpc::CallbackServerContext* context, const v1::GetLogsRequest* request) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

  // Ends every watch with `status`; calls that change something fail with it from now on.
  void Drain(const absl::Status& status);

 private:
  absl::Status CheckMayChange(grpc::CallbackServerContext& context, absl::string_view what) const;
  // OK for those who may see raw values of the job, after the view was recorded.
  void RecordStewardView(const std::string& job, const std::string& what,
                         std::function<void(absl::Status)> done);

  const Options options_;
  Submission submission_;
  WatchHub watch_hub_;
  std::atomic<bool> draining_ = false;
  TaskThread submit_thread_;  // Last: its tasks use the rest.
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_JOB_SERVICE_H_
