#include "server/api/job_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/api/caller.h"
#include "server/api/errors.h"
#include "server/api/log_stream.h"
#include "server/api/page_token.h"
#include "server/api/unary_call.h"

namespace sotto::api {
namespace {

constexpr int kMaxRequestIdLength = 64;

absl::Status DrainingError() {
  return absl::UnavailableError("the coordinator is shutting down; try again later");
}

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::SUCCEEDED || job.state() == v1::FAILED || job.state() == v1::CANCELLED;
}

// Raw values of such a job break no promise: it makes none, and its data has no budget.
bool MayStreamRawValues(const v1::Job& job) {
  return job.plan().privacy().not_private() && !job.plan().dataset().budgeted();
}

absl::Status CheckSubmitRequest(const v1::SubmitJobRequest& request) {
  std::vector<FieldViolation> violations;
  if (!request.has_spec()) violations.push_back({"spec", "is required"});
  if (request.request_id().size() > kMaxRequestIdLength) {
    violations.push_back(
        {"request_id", absl::StrCat("must have at most ", kMaxRequestIdLength,
                                    " characters, but has ", request.request_id().size())});
  }
  return violations.empty() ? absl::OkStatus() : BadRequestError(violations);
}

v1::ListJobsResponse MakeListResponse(store::JobPage page, absl::string_view filter) {
  v1::ListJobsResponse response;
  for (v1::Job& job : page.jobs) *response.add_jobs() = std::move(job);
  if (page.next_before_number > 0) {
    response.set_next_page_token(MakePageToken(filter, absl::StrCat(page.next_before_number)));
  }
  return response;
}

// What a page token is bound to.
std::string FilterOf(const v1::ListJobsRequest& request) {
  std::string filter = "jobs";
  for (int state : request.states()) absl::StrAppend(&filter, "-", state);
  return filter;
}

absl::StatusOr<store::JobQuery> MakeQuery(const v1::ListJobsRequest& request) {
  store::JobQuery query;
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(query.before_number, ReadNumberToken(FilterOf(request), request.page_token()));
  for (int state : request.states()) query.states.push_back(static_cast<v1::JobState>(state));
  return query;
}

}  // namespace

JobService::JobService(const Options& options)
    : options_(options),
      submission_(options.submission),
      watch_hub_(*options.jobs, *options.clock) {}

absl::Status JobService::CheckMayChange(grpc::CallbackServerContext& context,
                                        absl::string_view what) const {
  if (draining_) return DrainingError();
  return RequireEveryRole(context.peer(), what);
}

grpc::ServerUnaryReactor* JobService::SubmitJob(grpc::CallbackServerContext* context,
                                                const v1::SubmitJobRequest* request,
                                                v1::SubmitJobResponse* response) {
  UnaryCall<v1::SubmitJobResponse> call(context, response);
  absl::Status status = CheckMayChange(*context, "submit jobs");
  if (status.ok()) status = CheckSubmitRequest(*request);
  if (!status.ok()) {
    call.Fail(status);
    return call.reactor();
  }
  // `request` lives until the call ends.
  const bool queued =
      submit_thread_.TryRun([this, call, request] { call.End(submission_.Run(*request)); });
  if (!queued) call.Fail(absl::UnavailableError("too many submissions are waiting"));
  return call.reactor();
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext* context,
                                             const v1::GetJobRequest* request, v1::Job* response) {
  UnaryCall<v1::Job> call(context, response);
  options_.jobs->GetJob(request->id(),
                        [call](absl::StatusOr<v1::Job> job) { call.End(std::move(job)); });
  return call.reactor();
}

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* context,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  UnaryCall<v1::ListJobsResponse> call(context, response);
  absl::StatusOr<store::JobQuery> query = MakeQuery(*request);
  if (!query.ok()) {
    call.Fail(query.status());
    return call.reactor();
  }
  options_.jobs->ListJobs(*std::move(query),
                          [call, filter = FilterOf(*request)](absl::StatusOr<store::JobPage> page) {
                            if (!page.ok()) return call.Fail(page.status());
                            call.Answer(MakeListResponse(*std::move(page), filter));
                          });
  return call.reactor();
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* context,
                                                const v1::CancelJobRequest* request,
                                                v1::Job* response) {
  UnaryCall<v1::Job> call(context, response);
  const absl::Status status = CheckMayChange(*context, "cancel jobs");
  if (!status.ok()) {
    call.Fail(status);
    return call.reactor();
  }
  options_.scheduler->Cancel(request->id(),
                             [call](absl::StatusOr<v1::Job> job) { call.End(std::move(job)); });
  return call.reactor();
}

grpc::ServerUnaryReactor* JobService::PauseJob(grpc::CallbackServerContext* context,
                                               const v1::PauseJobRequest* request,
                                               v1::Job* response) {
  UnaryCall<v1::Job> call(context, response);
  const absl::Status status = CheckMayChange(*context, "pause jobs");
  if (!status.ok()) {
    call.Fail(status);
    return call.reactor();
  }
  options_.scheduler->Pause(request->id(),
                            [call](absl::StatusOr<v1::Job> job) { call.End(std::move(job)); });
  return call.reactor();
}

grpc::ServerUnaryReactor* JobService::ResumeJob(grpc::CallbackServerContext* context,
                                                const v1::ResumeJobRequest* request,
                                                v1::Job* response) {
  UnaryCall<v1::Job> call(context, response);
  const absl::Status status = CheckMayChange(*context, "resume jobs");
  if (!status.ok()) {
    call.Fail(status);
    return call.reactor();
  }
  // `request` lives until the call ends.
  const bool queued =
      submit_thread_.TryRun([this, call, request] { call.End(submission_.Resume(*request)); });
  if (!queued) call.Fail(absl::UnavailableError("too many submissions are waiting"));
  return call.reactor();
}

void JobService::RecordStewardView(const std::string& job, const std::string& what,
                                   std::function<void(absl::Status)> done) {
  options_.scheduler->RecordStewardView(job, what, std::move(done));
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(
    grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) {
  std::shared_ptr<WatchStream> stream =
      WatchStream::Create({.job = request->id(),
                           .after_sequence = request->after_sequence(),
                           .reader = options_.jobs,
                           .clock = options_.clock});
  WatchStream* const reactor = stream.get();  // Holds a reference to itself until gRPC is done.
  absl::Status status;
  if (request->after_sequence() < 0) {
    status = BadRequestError({{"after_sequence", absl::StrCat("must be at least 0, but is ",
                                                              request->after_sequence())}});
  } else if (request->steward()) {
    status = RequireEveryRole(context->peer(), "watch as data steward");
  }
  if (!status.ok()) {
    stream->Close(status);
    return reactor;
  }
  watch_hub_.Add(stream);  // Before the first read: nothing is missed.
  auto begin = [this, stream, steward = request->steward()](absl::Status recorded) {
    if (!recorded.ok()) return stream->Close(recorded);
    options_.jobs->GetJob(stream->job(), [stream, steward](absl::StatusOr<v1::Job> job) {
      if (!job.ok()) return stream->Close(job.status());
      const bool sees_raw = steward || MayStreamRawValues(*job);
      stream->Begin(HasEnded(*job), sees_raw ? Audience::kSteward : Audience::kReaders);
    });
  };
  if (request->steward()) {
    RecordStewardView(request->id(), "watch", std::move(begin));
  } else {
    begin(absl::OkStatus());
  }
  return reactor;
}

grpc::ServerWriteReactor<v1::GetLogsResponse>* JobService::GetLogs(
    grpc::CallbackServerContext* context, const v1::GetLogsRequest* request) {
  std::shared_ptr<LogStream> stream = LogStream::Create();
  LogStream* const reactor = stream.get();
  absl::Status status = RequireEveryRole(context->peer(), "read worker logs");
  if (status.ok() && !request->steward()) {
    status = WithReason(
        absl::PermissionDeniedError(
            "worker logs are raw: reading them needs the steward flag (--steward), is recorded "
            "in the ledger and marks the job"),
        "STEWARD_REQUIRED");
  }
  if (!status.ok()) {
    stream->Close(status);
    return reactor;
  }
  const v1::GetLogsRequest copy = *request;
  RecordStewardView(copy.id(), "logs", [this, stream, copy](absl::Status recorded) {
    if (!recorded.ok()) return stream->Close(recorded);
    options_.jobs->GetJob(copy.id(), [this, stream, copy](absl::StatusOr<v1::Job> job) {
      if (!job.ok()) return stream->Close(job.status());
      const int64_t attempt = copy.attempt() > 0 ? copy.attempt() : job->attempt();
      stream->Begin({.job_folder = absl::StrCat(options_.state_dir, "/jobs/", job->id()),
                     .attempt = attempt,
                     .rank = copy.rank()});
    });
  });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::GetServerInfo(grpc::CallbackServerContext* context,
                                                    const v1::GetServerInfoRequest* request,
                                                    v1::GetServerInfoResponse* response) {
  UnaryCall<v1::GetServerInfoResponse> call(context, response);
  const scheduler::SlotsInfo slots = options_.scheduler->Slots();
  v1::GetServerInfoResponse answer;
  answer.set_version(options_.version);
  answer.set_protocol_version(options_.protocol_version);
  answer.set_slots(slots.slots);
  answer.set_slots_in_use(slots.slots_in_use);
  answer.set_state_dir(options_.state_dir);
  call.Answer(std::move(answer));
  return call.reactor();
}

void JobService::Drain(const absl::Status& status) {
  draining_ = true;
  watch_hub_.Drain(status);
}

}  // namespace sotto::api
