#include "worker/inference_job.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/infer/inference.h"
#include "worker/train/failure_reason.h"

namespace sotto {
namespace {

using train::FailureReason;

// Files and plan stay what they are; memory, disk and peers may be better next time.
absl::Status WithReason(absl::Status status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return train::WithFailureReason(std::move(status), FailureReason::kPlanCannotRun);
    case absl::StatusCode::kDataLoss:
      return train::WithFailureReason(std::move(status), FailureReason::kInvalidCheckpoint);
    default:
      return status;
  }
}

}  // namespace

absl::StatusOr<infer::Outcome> RunInferenceJob(const InferenceJob& job,
                                               comm::Communicator& communicator,
                                               const grant::GrantGate& gate,
                                               control::ControlClient& client) {
  infer::Options options;
  options.may_replace_output = job.attempt > 1;
  options.job = job.id;
  options.should_stop = [&gate] { return gate.stop_mode().has_value(); };
  int64_t told_tenths = 0;
  if (job.rank == 0) {
    const char* what = job.plan.spec().inference().has_edit() ? " matrices" : " prompts";
    options.report_progress = [&client, &told_tenths, what](int64_t done, int64_t total) {
      const int64_t tenths = total > 0 ? 10 * done / total : 0;
      if (tenths <= told_tenths) return;
      told_tenths = tenths;
      client.ReportNote(absl::StrCat(done, " of ", total, what));
    };
  }
  absl::StatusOr<infer::Outcome> outcome = infer::RunInference(job.plan, communicator, options);
  if (outcome.ok() || train::FailureReasonOf(outcome.status()) != FailureReason::kOther) {
    return outcome;
  }
  return WithReason(outcome.status());
}

}  // namespace sotto
