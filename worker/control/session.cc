#include "worker/control/session.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace sotto::control {
namespace {

absl::Status FromRpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// Answers that dialling again would not change.
bool IsRefusal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsAborted(status) ||
         absl::IsFailedPrecondition(status) || absl::IsNotFound(status) ||
         absl::IsInvalidArgument(status);
}

grant::StopMode ModeOf(v1::Stop::Mode mode) {
  switch (mode) {
    case v1::Stop::FINISH:
      return grant::StopMode::kFinish;
    case v1::Stop::CHECKPOINT:
      return grant::StopMode::kCheckpoint;
    default:
      return grant::StopMode::kAbort;
  }
}

// A channel of its own for each stream: no back-off but ours.
std::unique_ptr<v1::WorkerService::Stub> Dial(const std::string& coordinator) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return v1::WorkerService::NewStub(
      grpc::CreateCustomChannel(coordinator, grpc::InsecureChannelCredentials(), arguments));
}

}  // namespace

Session::Session(ControlClient::Options options) : options_(std::move(options)) {
  writer_ = std::thread([this] { Run(); });
}

Session::~Session() {
  {
    MutexLock lock(&mutex_);
    is_stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  writer_.join();
}

absl::StatusOr<v1::Welcome> Session::AwaitWelcome(absl::Duration timeout) {
  MutexLock lock(&mutex_);
  auto is_answered = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return welcome_.has_value() || !refusal_.ok();
  };
  if (!options_.clock->AwaitFor(mutex_, absl::Condition(&is_answered), timeout)) {
    return absl::DeadlineExceededError(
        absl::StrCat("no coordinator answers at ", options_.coordinator));
  }
  if (!refusal_.ok()) return refusal_;
  v1::Welcome welcome = *welcome_;
  std::string& kept = *welcome_->mutable_secret();
  std::fill(kept.begin(), kept.end(), '\0');
  kept.clear();
  return welcome;
}

void Session::Serve(grant::GrantGate* gate) {
  MutexLock lock(&mutex_);
  gate_ = gate;
  if (gate_ == nullptr) return;
  std::vector<v1::CoordinatorMessage> messages;
  messages.swap(for_gate_);
  for (const v1::CoordinatorMessage& message : messages) GiveToGate(message);
  if (!refusal_.ok()) gate_->Stop(grant::StopMode::kAbort);
}

void Session::Add(v1::WorkerMessage message) {
  MutexLock lock(&mutex_);
  outbox_.Add(std::move(message));
}

void Session::Request(int64_t first_step) {
  MutexLock lock(&mutex_);
  v1::GrantRequest request;
  request.set_first_step(first_step);
  request.set_seconds_per_step(progress_.seconds_per_step);
  outbox_.Request(std::move(request));
}

void Session::SetProgress(const Progress& progress) {
  MutexLock lock(&mutex_);
  progress_ = progress;
}

absl::Status Session::Finish(const v1::Finished& finished, absl::Duration timeout) {
  MutexLock lock(&mutex_);
  outbox_.Finish(finished);
  auto is_over = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_done_ || !refusal_.ok(); };
  if (!options_.clock->AwaitFor(mutex_, absl::Condition(&is_over), timeout)) {
    return absl::DeadlineExceededError("the coordinator did not take in how this rank ended");
  }
  return is_done_ ? absl::OkStatus() : refusal_;
}

void Session::Run() {
  absl::Duration backoff = options_.first_backoff;
  while (true) {
    const absl::Status status = RunStream();
    if (!GoesOn(status)) return;
    MutexLock lock(&mutex_);
    if (was_welcomed_) backoff = options_.first_backoff;
    if (options_.clock->AwaitFor(mutex_, absl::Condition(&is_stopping_), backoff)) return;
    backoff = std::min(2 * backoff, options_.max_backoff);
  }
}

bool Session::GoesOn(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (is_stopping_) return false;
  if (status.ok() && outbox_.finish_was_sent()) {
    is_done_ = true;
    return false;
  }
  if (!IsRefusal(status)) return true;
  SOTTO_LOG(WARNING) << "the coordinator refuses this rank: " << status.ToString();
  refusal_ = status;
  if (gate_ != nullptr) gate_->Stop(grant::StopMode::kAbort);
  return false;
}

absl::Status Session::RunStream() {
  grpc::ClientContext context;
  {
    MutexLock lock(&mutex_);
    if (is_stopping_) return absl::CancelledError("stopping");
    context_ = &context;
    stream_is_over_ = false;
    was_welcomed_ = false;
    outbox_.Rewind();
  }
  const std::unique_ptr<v1::WorkerService::Stub> stub = Dial(options_.coordinator);
  const std::unique_ptr<Stream> stream = stub->Attach(&context);
  std::thread reader([this, &stream] { Read(*stream); });
  Write(*stream);
  reader.join();  // The coordinator or the connection ended the stream, or TryCancel did.
  const absl::Status status = FromRpc(stream->Finish());
  MutexLock lock(&mutex_);
  context_ = nullptr;
  return status;
}

void Session::Write(Stream& stream) {
  v1::WorkerMessage hello;
  {
    MutexLock lock(&mutex_);
    hello = MakeHello();
  }
  bool is_open = stream.Write(hello);
  while (is_open) {
    const std::optional<v1::WorkerMessage> message = NextMessage();
    if (!message.has_value()) return;
    is_open = stream.Write(*message);
  }
}

std::optional<v1::WorkerMessage> Session::NextMessage() {
  MutexLock lock(&mutex_);
  auto has_news = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return is_stopping_ || stream_is_over_ || (was_welcomed_ && outbox_.HasNext());
  };
  const bool has_some =
      options_.clock->AwaitFor(mutex_, absl::Condition(&has_news), options_.heartbeat_interval);
  if (is_stopping_ || stream_is_over_) return std::nullopt;
  return has_some ? outbox_.Take() : MakeHeartbeat();
}

void Session::Read(Stream& stream) {
  v1::CoordinatorMessage message;
  while (stream.Read(&message)) Take(std::move(message));
  MutexLock lock(&mutex_);
  stream_is_over_ = true;
}

void Session::Take(v1::CoordinatorMessage message) {
  MutexLock lock(&mutex_);
  switch (message.kind_case()) {
    case v1::CoordinatorMessage::kWelcome:
      was_welcomed_ = true;
      // A coordinator that was restarted no longer knows the secret: the first Welcome holds.
      if (!welcome_.has_value()) welcome_ = std::move(*message.mutable_welcome());
      return;
    case v1::CoordinatorMessage::kGrant:
      outbox_.Granted(message.grant().end_step());
      GiveToGate(message);
      return;
    case v1::CoordinatorMessage::kStop:
      GiveToGate(message);
      return;
    case v1::CoordinatorMessage::kAck:
      outbox_.Acknowledge(message.ack().step());
      return;
    case v1::CoordinatorMessage::KIND_NOT_SET:
      return;
  }
}

void Session::GiveToGate(const v1::CoordinatorMessage& message) {
  if (gate_ == nullptr) {
    for_gate_.push_back(message);
    return;
  }
  if (message.has_stop()) {
    gate_->Stop(ModeOf(message.stop().mode()));
    return;
  }
  const absl::Status extended = gate_->Extend({.first_step = message.grant().first_step(),
                                               .end_step = message.grant().end_step(),
                                               .attempt = message.grant().attempt()});
  if (!extended.ok()) SOTTO_LOG(WARNING) << "a grant was refused: " << extended.ToString();
}

v1::WorkerMessage Session::MakeHello() const {
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_version(kProtocolVersion);
  hello.set_job(options_.job);
  hello.set_attempt(options_.attempt);
  hello.set_rank(options_.rank);
  hello.set_attempt_token(options_.attempt_token);
  hello.set_next_step(gate_ == nullptr ? -1 : gate_->next_step());
  hello.set_process_id(getpid());
  return message;
}

v1::WorkerMessage Session::MakeHeartbeat() const {
  v1::WorkerMessage message;
  v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
  heartbeat.set_started_steps(progress_.started_steps);
  heartbeat.set_seconds_per_step(progress_.seconds_per_step);
  heartbeat.set_peak_bytes(progress_.peak_bytes);
  heartbeat.set_tensor_peak_bytes(progress_.tensor_peak_bytes);
  return message;
}

}  // namespace sotto::control
