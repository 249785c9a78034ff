#include "client/job_client.h"

#include <algorithm>
#include <utility>

#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/exit_code.h"
#include "client/rpc_status.h"
#include "common/base/status_macros.h"

namespace sotto::client {
namespace {

constexpr absl::Duration kUnaryTimeout = absl::Seconds(30);
constexpr absl::Duration kMinBackoff = absl::Milliseconds(50);
constexpr absl::Duration kMaxBackoff = absl::Seconds(2);

// One unary call with a deadline.
template <typename Request, typename Response, typename Stub>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kUnaryTimeout));
  Response response;
  RETURN_IF_ERROR(FromRpc((stub.*method)(&context, request, &response)));
  return response;
}

// Whether a stream that ended so, and that we did not end, may be taken up again. A server that is
// shutting down answers a new call with CANCELLED.
bool IsTransient(const absl::Status& status) {
  return status.ok() || absl::IsUnavailable(status) || absl::IsCancelled(status) ||
         absl::IsInternal(status) || absl::IsUnknown(status);
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobClient>> JobClient::Connect(const std::string& address,
                                                              absl::Duration timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(absl::ToChronoTime(absl::Now() + timeout))) {
    return absl::UnavailableError(absl::StrCat("no coordinator answers at ", address));
  }
  return std::unique_ptr<JobClient>(new JobClient(std::move(channel)));
}

JobClient::JobClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)),
      jobs_(v1::JobService::NewStub(channel_)),
      ledger_(v1::LedgerService::NewStub(channel_)) {}

absl::StatusOr<v1::SubmitJobResponse> JobClient::Submit(const v1::SubmitJobRequest& request) {
  return Call(*jobs_, &v1::JobService::Stub::SubmitJob, request);
}

absl::StatusOr<v1::Job> JobClient::Get(const std::string& id) {
  v1::GetJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::GetJob, request);
}

absl::StatusOr<v1::ListJobsResponse> JobClient::List(const v1::ListJobsRequest& request) {
  return Call(*jobs_, &v1::JobService::Stub::ListJobs, request);
}

absl::StatusOr<v1::Job> JobClient::Cancel(const std::string& id) {
  v1::CancelJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::CancelJob, request);
}

absl::StatusOr<v1::Job> JobClient::Pause(const std::string& id) {
  v1::PauseJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::PauseJob, request);
}

absl::StatusOr<v1::Job> JobClient::Resume(const v1::ResumeJobRequest& request) {
  return Call(*jobs_, &v1::JobService::Stub::ResumeJob, request);
}

absl::StatusOr<v1::GetServerInfoResponse> JobClient::ServerInfo() {
  return Call(*jobs_, &v1::JobService::Stub::GetServerInfo, v1::GetServerInfoRequest());
}

absl::StatusOr<v1::Dataset> JobClient::RegisterDataset(const v1::RegisterDatasetRequest& request) {
  return Call(*ledger_, &v1::LedgerService::Stub::RegisterDataset, request);
}

absl::StatusOr<v1::Dataset> JobClient::GetDataset(const std::string& name) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  return Call(*ledger_, &v1::LedgerService::Stub::GetDataset, request);
}

absl::StatusOr<v1::ListDatasetsResponse> JobClient::ListDatasets(
    const v1::ListDatasetsRequest& request) {
  return Call(*ledger_, &v1::LedgerService::Stub::ListDatasets, request);
}

absl::StatusOr<v1::ListChargesResponse> JobClient::ListCharges(
    const v1::ListChargesRequest& request) {
  return Call(*ledger_, &v1::LedgerService::Stub::ListCharges, request);
}

absl::StatusOr<v1::VerifyLedgerResponse> JobClient::VerifyLedger() {
  return Call(*ledger_, &v1::LedgerService::Stub::VerifyLedger, v1::VerifyLedgerRequest());
}

absl::Status JobClient::Watch(const WatchOptions& options,
                              const std::function<void(const v1::JobEvent&)>& on_event) {
  WatchProgress progress{.sequence = options.after_sequence};
  absl::Time give_up = absl::Now() + options.reconnect;
  absl::Duration backoff = kMinBackoff;
  while (true) {
    const int64_t before = progress.sequence;
    const absl::Status status = WatchOnce(options, on_event, progress);
    if (progress.is_over && status.ok()) return absl::OkStatus();
    if (absl::Now() >= options.deadline) {
      return absl::DeadlineExceededError(absl::StrCat(options.id, " has not ended yet"));
    }
    if (IsInterrupted()) return absl::CancelledError("interrupted");
    if (!IsTransient(status)) return status;
    if (options.may_return) RETURN_IF_ERROR(options.may_return());
    if (progress.sequence > before) {
      give_up = absl::Now() + options.reconnect;
      backoff = kMinBackoff;
    }
    if (absl::Now() >= give_up) {
      return absl::UnavailableError(absl::StrCat("the stream of ", options.id,
                                                 " ended before the job did: ", status.message()));
    }
    AwaitInterrupt(backoff);
    backoff = std::min(2 * backoff, kMaxBackoff);
  }
}

absl::Status JobClient::WatchOnce(const WatchOptions& options,
                                  const std::function<void(const v1::JobEvent&)>& on_event,
                                  WatchProgress& progress) {
  v1::WatchJobRequest request;
  request.set_id(options.id);
  request.set_after_sequence(progress.sequence);
  request.set_steward(options.steward);
  grpc::ClientContext context;
  if (options.deadline != absl::InfiniteFuture()) {
    context.set_deadline(absl::ToChronoTime(options.deadline));
  }
  RETURN_IF_ERROR(BeginStream(&context));
  auto stream = jobs_->WatchJob(&context, request);
  v1::WatchJobResponse response;
  while (stream->Read(&response)) {
    for (const v1::JobEvent& event : response.events()) {
      if (event.sequence() <= progress.sequence) continue;
      progress.sequence = event.sequence();
      progress.is_over |= event.has_state() && IsTerminal(event.state().state());
      on_event(event);
    }
  }
  const absl::Status status = FromRpc(stream->Finish());
  EndStream();
  return status;
}

absl::Status JobClient::Logs(const v1::GetLogsRequest& request,
                             const std::function<void(const v1::GetLogsResponse&)>& on_piece) {
  grpc::ClientContext context;
  RETURN_IF_ERROR(BeginStream(&context));
  auto stream = jobs_->GetLogs(&context, request);
  v1::GetLogsResponse piece;
  while (stream->Read(&piece)) on_piece(piece);
  const absl::Status status = FromRpc(stream->Finish());
  EndStream();
  return status;
}

absl::Status JobClient::BeginStream(grpc::ClientContext* context) {
  MutexLock lock(&mutex_);
  if (is_interrupted_) return absl::CancelledError("interrupted");
  stream_ = context;
  return absl::OkStatus();
}

bool JobClient::IsInterrupted() {
  MutexLock lock(&mutex_);
  return is_interrupted_;
}

void JobClient::EndStream() {
  MutexLock lock(&mutex_);
  stream_ = nullptr;
}

void JobClient::AwaitInterrupt(absl::Duration timeout) {
  MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&is_interrupted_), timeout);
}

void JobClient::Interrupt() {
  MutexLock lock(&mutex_);
  is_interrupted_ = true;
  if (stream_ != nullptr) stream_->TryCancel();
}

}  // namespace sotto::client
