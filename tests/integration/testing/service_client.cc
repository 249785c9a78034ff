#include "tests/integration/testing/service_client.h"

#include <chrono>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

namespace sotto::integration {
namespace {

constexpr std::chrono::seconds kPatience(30);
constexpr std::chrono::seconds kWatchPatience(240);

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void Prepare(grpc::ClientContext& context, std::chrono::seconds patience) {
  context.set_deadline(std::chrono::system_clock::now() + patience);
  context.set_wait_for_ready(true);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// One unary call; UNAVAILABLE (the coordinator went while it answered) is returned.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  Prepare(context, kPatience);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

}  // namespace

ServiceClient::ServiceClient(const std::string& address)
    : channel_(MakeChannel(address)),
      jobs_(v1::JobService::NewStub(channel_)),
      ledger_(v1::LedgerService::NewStub(channel_)) {}

absl::StatusOr<v1::Dataset> ServiceClient::Register(const v1::RegisterDatasetRequest& request) {
  return Call(*ledger_, &v1::LedgerService::Stub::RegisterDataset, request);
}

absl::StatusOr<v1::Dataset> ServiceClient::GetDataset(const std::string& name) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  return Call(*ledger_, &v1::LedgerService::Stub::GetDataset, request);
}

absl::StatusOr<std::vector<v1::LedgerEntry>> ServiceClient::ListCharges(
    const std::string& dataset) {
  std::vector<v1::LedgerEntry> entries;
  v1::ListChargesRequest request;
  request.set_dataset(dataset);
  request.set_page_size(1000);
  do {
    const auto page = Call(*ledger_, &v1::LedgerService::Stub::ListCharges, request);
    if (!page.ok()) return page.status();
    entries.insert(entries.end(), page->entries().begin(), page->entries().end());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return entries;
}

absl::Status ServiceClient::VerifyLedger() {
  return Call(*ledger_, &v1::LedgerService::Stub::VerifyLedger, v1::VerifyLedgerRequest()).status();
}

absl::StatusOr<v1::Job> ServiceClient::Submit(const v1::JobSpec& spec,
                                              const std::string& request_id) {
  v1::SubmitJobRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(request_id);
  auto response = Call(*jobs_, &v1::JobService::Stub::SubmitJob, request);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_job());
}

absl::StatusOr<v1::Job> ServiceClient::GetJob(const std::string& id) {
  v1::GetJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::GetJob, request);
}

absl::StatusOr<v1::Job> ServiceClient::Cancel(const std::string& id) {
  v1::CancelJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::CancelJob, request);
}

absl::StatusOr<v1::Job> ServiceClient::Pause(const std::string& id) {
  v1::PauseJobRequest request;
  request.set_id(id);
  return Call(*jobs_, &v1::JobService::Stub::PauseJob, request);
}

absl::StatusOr<v1::Job> ServiceClient::Resume(const std::string& id, int workers,
                                              v1::Strategy strategy) {
  v1::ResumeJobRequest request;
  request.set_id(id);
  request.mutable_workers()->set_count(workers);
  request.mutable_workers()->set_strategy(strategy);
  return Call(*jobs_, &v1::JobService::Stub::ResumeJob, request);
}

absl::Status ServiceClient::Watch(const std::string& id, int64_t after_sequence,
                                  const std::function<bool(const v1::JobEvent&)>& on_event) {
  const auto deadline = std::chrono::system_clock::now() + kWatchPatience;
  while (std::chrono::system_clock::now() < deadline) {
    grpc::ClientContext context;
    Prepare(context, kWatchPatience);
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_after_sequence(after_sequence);
    const auto stream = jobs_->WatchJob(&context, request);
    v1::WatchJobResponse response;
    while (stream->Read(&response)) {
      for (const v1::JobEvent& event : response.events()) {
        after_sequence = event.sequence();
        if (!on_event(event)) {
          context.TryCancel();
          return absl::OkStatus();
        }
      }
    }
    const grpc::Status status = stream->Finish();
    if (status.ok()) return absl::OkStatus();
    // gRPC says CANCELLED for a call that met a server in the moment of its shutdown; nobody here
    // cancels.
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE &&
        status.error_code() != grpc::StatusCode::CANCELLED) {
      return ToStatus(status);
    }
  }
  return absl::DeadlineExceededError("the job did not end");
}

}  // namespace sotto::integration
