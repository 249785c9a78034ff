#include "worker/control/control_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "worker/control/session.h"

namespace sotto::control {
namespace {

v1::RawStepReport MakeRawReport(const dp::RawMetrics& raw, const ReportContext& context) {
  v1::RawStepReport report;
  report.set_mean_loss(raw.mean_loss);
  report.set_clip_fraction(raw.clip_fraction);
  report.set_sampled_batch_size(raw.sampled_batch_size);
  report.set_gradient_norm(raw.gradient_norm);
  if (raw.accuracy.has_value()) report.set_accuracy(*raw.accuracy);
  report.mutable_memory()->set_tensor_peak_bytes(context.tensor_peak_bytes);
  report.mutable_memory()->set_resident_peak_bytes(context.resident_peak_bytes);
  return report;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlClient>> ControlClient::Start(Options options) {
  SOTTO_CHECK(options.clock != nullptr) << "a clock is required";
  if (options.coordinator.empty()) {
    return absl::InvalidArgumentError("coordinator must be an address, but is empty");
  }
  return std::unique_ptr<ControlClient>(
      new ControlClient(std::make_unique<Session>(std::move(options))));
}

ControlClient::ControlClient(std::unique_ptr<Session> session) : session_(std::move(session)) {}
ControlClient::~ControlClient() = default;

absl::StatusOr<v1::Welcome> ControlClient::AwaitWelcome(absl::Duration timeout) {
  return session_->AwaitWelcome(timeout);
}

void ControlClient::Serve(grant::GrantGate* gate) { session_->Serve(gate); }

void ControlClient::RequestSteps(int64_t first_step) { session_->Request(first_step); }

void ControlClient::Report(const dp::NoisedMetrics& metrics, const ReportContext& context) {
  v1::WorkerMessage message;
  v1::StepReport& report = *message.mutable_report();
  report.set_step(metrics.step());
  report.set_attempt(metrics.attempt());
  report.set_learning_rate(context.learning_rate);
  report.set_clip_norm(metrics.clip_norm());
  report.set_noised_gradient_norm(metrics.noised_gradient_norm());
  report.set_corrected_gradient_norm(metrics.corrected_gradient_norm());
  report.set_gradient_norm_resolution(metrics.gradient_norm_resolution());
  report.set_noised_mean_loss(metrics.noised_mean_loss());
  report.set_smoothed_mean_loss(context.smoothed_mean_loss);
  report.set_mean_loss_standard_error(metrics.mean_loss_standard_error());
  report.set_noised_clip_fraction(metrics.noised_clip_fraction());
  report.set_clip_fraction_standard_error(metrics.clip_fraction_standard_error());
  if (metrics.noised_accuracy().has_value()) {
    report.set_noised_accuracy(*metrics.noised_accuracy());
    report.set_accuracy_standard_error(metrics.accuracy_standard_error());
  }
  report.set_steps_per_second(context.steps_per_second);
  if (context.evaluation_loss.has_value()) report.set_evaluation_loss(*context.evaluation_loss);
  if (metrics.raw().has_value()) *report.mutable_raw() = MakeRawReport(*metrics.raw(), context);
  session_->Add(std::move(message));
}

void ControlClient::ReportEvaluation(int64_t step, double evaluation_loss) {
  v1::WorkerMessage message;
  message.mutable_evaluation()->set_step(step);
  message.mutable_evaluation()->set_evaluation_loss(evaluation_loss);
  session_->Add(std::move(message));
}

void ControlClient::ReportCheckpoint(int64_t step, const std::string& directory) {
  v1::WorkerMessage message;
  message.mutable_checkpoint_done()->set_step(step);
  message.mutable_checkpoint_done()->set_path(directory);
  session_->Add(std::move(message));
}

void ControlClient::ReportNote(const std::string& text) {
  v1::WorkerMessage message;
  message.mutable_note()->set_text(text);
  session_->Add(std::move(message));
}

void ControlClient::ReportDevice(const v1::DeviceProfile& profile) {
  v1::WorkerMessage message;
  *message.mutable_device_profile() = profile;
  session_->Add(std::move(message));
}

void ControlClient::SetProgress(const Progress& progress) { session_->SetProgress(progress); }

absl::Status ControlClient::Finish(const v1::Finished& finished, absl::Duration timeout) {
  return session_->Finish(finished, timeout);
}

}  // namespace sotto::control
