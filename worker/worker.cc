#include "worker/worker.h"

#include <memory>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/spec/device_profile_message.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "worker/attempt_secret.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/control/control_client.h"
#include "worker/control_observer.h"
#include "worker/device_profile.h"
#include "worker/exit_file.h"
#include "worker/inference_job.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"
#include "worker/memory_summary.h"
#include "worker/train/failure_reason.h"
#include "worker/training.h"

namespace sotto {
namespace {

using train::FailureReason;

constexpr absl::Duration kWelcomeTimeout = absl::Seconds(60);
// After a failure the coordinator is told before the peers notice: their failures are only its
// echo.
constexpr absl::Duration kTellFailureTimeout = absl::Seconds(5);

struct Ending {
  v1::Finished finished;
  int exit_code = kExitDone;
};

Ending EndingOf(const train::TrainLoop::Outcome& outcome) {
  Ending ending;
  ending.finished.set_outcome(outcome.stopped.has_value() ? v1::Finished::STOPPED
                                                          : v1::Finished::DONE);
  if (outcome.stopped == train::StopCause::kGraceExpired) {
    ending.finished.set_outcome(v1::Finished::GRACE_EXPIRED);
    ending.finished.set_message("no grant came for coordinator_grace; saved and ended");
    ending.exit_code = kExitGraceExpired;
  }
  return ending;
}

Ending EndingOf(const infer::Outcome& outcome) {
  Ending ending;
  ending.finished.set_outcome(outcome.was_stopped ? v1::Finished::STOPPED : v1::Finished::DONE);
  ending.finished.set_completed_steps(outcome.prompts);
  return ending;
}

Ending EndingOf(const absl::Status& failure) {
  Ending ending;
  ending.finished.set_outcome(v1::Finished::FAILED);
  ending.finished.set_message(std::string(failure.message()));
  switch (train::FailureReasonOf(failure)) {
    case FailureReason::kInvalidData:
      ending.finished.set_reason(v1::INVALID_DATA);
      ending.exit_code = kExitInvalidData;
      break;
    case FailureReason::kInvalidCheckpoint:
      ending.finished.set_reason(v1::INVALID_CHECKPOINT);
      ending.exit_code = kExitInvalidCheckpoint;
      break;
    case FailureReason::kProtocol:
      ending.finished.set_reason(v1::PROTOCOL_MISMATCH);
      ending.exit_code = kExitProtocol;
      break;
    case FailureReason::kNotFinite:
      ending.finished.set_reason(v1::INTERNAL);
      ending.exit_code = kExitFailure;
      break;
    case FailureReason::kPlanCannotRun:
      ending.finished.set_reason(v1::PLAN_CANNOT_RUN);
      ending.exit_code = kExitPlanCannotRun;
      break;
    case FailureReason::kOther:
      ending.finished.set_reason(v1::WORKER_FAILED);
      ending.exit_code = absl::IsInternal(failure) ? kExitInternal : kExitFailure;
      break;
  }
  return ending;
}

// The life of one rank. Members are destroyed in reverse order: the client first, then the gate
// that it serves.
class Worker {
 public:
  explicit Worker(const WorkerOptions& options) : options_(options) {}

  // Attaches and does what the plan says.
  absl::StatusOr<Ending> Run() {
    RETURN_IF_ERROR(Attach());
    RETURN_IF_ERROR(Connect());
    MakeGate();
    if (welcome_.plan().has_inference()) return Infer();
    RETURN_IF_ERROR(BuildTraining());
    client_->Serve(gate_.get());
    ASSIGN_OR_RETURN(const train::TrainLoop::Outcome outcome, training_->Run());
    return EndingOf(outcome);
  }

  // Tells how it ended: the file first, in case nobody listens.
  void Tell(Ending& ending) {
    if (welcome_.has_plan()) {
      SOTTO_LOG(INFO) << MemorySummary(welcome_.plan().memory(),
                                       {.tensor_peak_bytes = memory::TensorPeakBytes(),
                                        .resident_peak_bytes = memory::PeakResidentBytes()});
    }
    if (training_ != nullptr) {
      ending.finished.set_started_steps(training_->started_steps());
      ending.finished.set_completed_steps(training_->completed_steps());
    }
    const ExitIdentity identity{
        .job = options_.job, .attempt = options_.attempt, .rank = options_.rank};
    if (const absl::Status written =
            WriteExitFile(options_.run_directory, identity, ending.finished);
        !written.ok()) {
      SOTTO_LOG(ERROR) << "exit file: " << written;
    }
    const bool failed = ending.finished.outcome() == v1::Finished::FAILED;
    if (client_ != nullptr) {
      const absl::Status told =
          client_->Finish(ending.finished, failed ? kTellFailureTimeout : grace_);
      if (!told.ok()) SOTTO_LOG(WARNING) << "the coordinator was not told of the end: " << told;
    }
    if (failed && communicator_ != nullptr) communicator_->Abort();
  }

 private:
  absl::Status Attach() {
    const UniqueFd token_fd(options_.token_fd);
    ASSIGN_OR_RETURN(std::string token, ReadAll(token_fd.get()));
    ASSIGN_OR_RETURN(client_, control::ControlClient::Start(
                                  {.coordinator = options_.coordinator,
                                   .job = options_.job,
                                   .attempt = options_.attempt,
                                   .rank = options_.rank,
                                   .attempt_token = std::string(absl::StripAsciiWhitespace(token)),
                                   .clock = &RealClock::Get()}));
    absl::StatusOr<v1::Welcome> welcome = client_->AwaitWelcome(kWelcomeTimeout);
    if (absl::IsFailedPrecondition(welcome.status())) {
      return train::WithFailureReason(welcome.status(), FailureReason::kProtocol);
    }
    RETURN_IF_ERROR(welcome.status());
    welcome_ = *std::move(welcome);
    grace_ = absl::Seconds(welcome_.coordinator_grace_seconds());
    const v1::JobPlan& plan = welcome_.plan();
    if (plan.protocol_version() != control::kProtocolVersion ||
        plan.sharding().world_size() != options_.world_size) {
      return train::WithFailureReason(
          absl::FailedPreconditionError("the plan is not for this worker"),
          FailureReason::kProtocol);
    }
    return absl::OkStatus();
  }

  absl::Status Connect() {
    const int64_t bytes = welcome_.plan().sharding().communicator_bytes();
    ASSIGN_OR_RETURN(communicator_,
                     comm::Connect({.rank = options_.rank,
                                    .world_size = options_.world_size,
                                    .memfd = options_.memfd,
                                    .region_elements = comm::LocalCommunicator::RegionElements(
                                        options_.world_size, bytes)}));
    return absl::OkStatus();
  }

  void MakeGate() {
    grant::GrantGate::Options gate{.attempt = options_.attempt,
                                   .end_step = welcome_.end_step(),
                                   .coordinator_grace = grace_,
                                   .clock = &RealClock::Get()};
    if (options_.rank == 0) {
      gate.request_more = [this](int64_t first_step) { client_->RequestSteps(first_step); };
    }
    gate_ = std::make_unique<grant::GrantGate>(std::move(gate));
  }

  absl::StatusOr<Ending> Infer() {
    client_->Serve(gate_.get());
    ASSIGN_OR_RETURN(const infer::Outcome outcome,
                     RunInferenceJob({.plan = welcome_.plan(),
                                      .id = options_.job,
                                      .attempt = options_.attempt,
                                      .rank = options_.rank},
                                     *communicator_, *gate_, *client_));
    return EndingOf(outcome);
  }

  absl::Status BuildTraining() {
    at::set_num_threads(welcome_.plan().sharding().threads_per_rank());
    if (welcome_.measure_device() && options_.rank == 0) {
      client_->ReportDevice(spec::ProfileMessage(MeasureDeviceProfile(RealClock::Get())));
    }
    observer_ = std::make_unique<ControlObserver>(*client_, options_.rank);
    absl::StatusOr<crypto::Secret> secret = ChooseSecret(welcome_.plan(), welcome_.secret());
    std::string& copy = *welcome_.mutable_secret();
    crypto::WipeBytes({reinterpret_cast<uint8_t*>(copy.data()), copy.size()});
    RETURN_IF_ERROR(secret.status());
    ASSIGN_OR_RETURN(training_,
                     Training::Create({.plan = welcome_.plan(),
                                       .job = options_.job,
                                       .attempt = options_.attempt,
                                       .checkpoint_directory = welcome_.checkpoint_directory(),
                                       .end_step = welcome_.end_step()},
                                      *std::move(secret),
                                      {.communicator = *communicator_,
                                       .gate = *gate_,
                                       .observer = *observer_,
                                       .clock = RealClock::Get()}));
    return absl::OkStatus();
  }

  const WorkerOptions options_;
  v1::Welcome welcome_;
  absl::Duration grace_ = absl::ZeroDuration();
  std::unique_ptr<comm::Communicator> communicator_;
  std::unique_ptr<grant::GrantGate> gate_;
  std::unique_ptr<control::ControlClient> client_;
  std::unique_ptr<ControlObserver> observer_;
  std::unique_ptr<Training> training_;
};

}  // namespace

int RunWorker(const WorkerOptions& options) {
  Worker worker(options);
  absl::StatusOr<Ending> ending = worker.Run();
  if (!ending.ok()) {
    SOTTO_LOG(ERROR) << "the attempt failed: " << ending.status();
    ending = EndingOf(ending.status());
  }
  worker.Tell(*ending);
  return ending->exit_code;
}

}  // namespace sotto
