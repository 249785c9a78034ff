#include "server/api/submission.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file.h"
#include "common/spec/device_profile_message.h"
#include "common/spec/hugging_face_model.h"
#include "common/spec/model_layout.h"
#include "common/spec/violation.h"
#include "server/api/dataset_facts.h"
#include "server/api/errors.h"
#include "server/api/inference_intake.h"
#include "server/api/wait_for.h"
#include "server/ledger/job_charge.h"
#include "server/planning/inference_planner.h"

namespace sotto::api {
namespace {

constexpr absl::string_view kEvaluationField = "data.public_evaluation_file";

absl::StatusOr<ledger::ReservationRequest> ReservationFor(const v1::JobPlan& plan, bool steward) {
  ledger::ReservationRequest request;
  request.dataset = plan.dataset().name();
  request.steward_override = steward && plan.privacy().not_private() && plan.dataset().budgeted();
  ASSIGN_OR_RETURN(request.charge, ledger::JobChargeOf(plan));
  return request;
}

absl::Status StewardRequiredError(const v1::DatasetFacts& dataset) {
  return WithReason(
      absl::PermissionDeniedError(absl::StrCat(
          "dataset \"", dataset.name(),
          "\" has a privacy budget and the job is not private: only a data steward may submit it "
          "(--steward), and the ledger records it")),
      "STEWARD_REQUIRED", {{"dataset", dataset.name()}});
}

// Planning's violations as details of the API's own kind.
absl::Status WithBadRequest(const absl::Status& status) {
  const std::vector<spec::Violation> violations = spec::ViolationsOf(status);
  if (violations.empty()) return status;
  std::vector<FieldViolation> fields;
  for (const spec::Violation& violation : violations) {
    fields.push_back(
        {violation.field, violation.value.empty()
                              ? violation.rule
                              : absl::StrCat(violation.rule, ", but is ", violation.value)});
  }
  return WithViolations(status, fields);
}

// That no family is named is only the echo of a directory that cannot be read.
absl::Status WithModelError(const absl::Status& status, const absl::Status& completed) {
  std::vector<spec::Violation> violations = spec::ViolationsOf(status);
  if (completed.ok() || violations.empty()) return status;
  for (spec::Violation& violation : violations) {
    if (violation.field != "model") continue;
    violation = {"model.hugging_face_directory", std::string(completed.message()), ""};
  }
  return spec::ViolationsError(violations);
}

// Of a job that is not admitted.
v1::SubmitJobResponse ResponseOf(const v1::JobPlan& plan) {
  v1::SubmitJobResponse response;
  response.mutable_job()->set_name(plan.spec().name());
  *response.mutable_job()->mutable_plan() = plan;
  return response;
}

}  // namespace

absl::StatusOr<v1::SubmitJobResponse> Submission::Run(const v1::SubmitJobRequest& request) {
  if (request.spec().has_inference()) return RunInference(request);
  ASSIGN_OR_RETURN(const v1::JobPlan plan, MakePlan(request.spec(), request.steward()));
  RETURN_IF_ERROR(CheckEvaluationFile(plan));
  if (request.validate_only()) return Validate(plan, request.steward());
  return Admit(plan, request);
}

absl::StatusOr<v1::JobPlan> Submission::MakePlan(v1::JobSpec spec, bool steward) {
  const absl::Status completed = spec::CompleteModel(*spec.mutable_model());
  v1::DatasetFacts facts;
  absl::Status unknown;
  if (!spec.data().dataset().empty()) {  // Else planning lists it with the other broken rules.
    const auto dataset = WaitFor<absl::StatusOr<v1::Dataset>>(
        [&](auto done) { options_.datasets->Get(spec.data().dataset(), std::move(done)); });
    if (!dataset.ok() && !absl::IsNotFound(dataset.status())) return dataset.status();
    unknown = dataset.status();
    if (dataset.ok()) facts = FactsOf(*dataset);
  }
  if (spec.privacy().not_private() && facts.budgeted() && !steward) {
    return StewardRequiredError(facts);
  }
  ASSIGN_OR_RETURN(const planning::HostFacts host, MeasuredHost());
  absl::StatusOr<v1::JobPlan> plan = planning::Plan(spec, facts, host, {.data_steward = steward});
  if (plan.ok()) return plan;
  const std::vector<spec::Violation> violations = spec::ViolationsOf(plan.status());
  if (violations.empty()) return plan.status();
  // The whole list of broken rules, unless the dataset is all that is wrong.
  if (!unknown.ok() && violations.size() == 1) return unknown;
  return WithBadRequest(WithModelError(plan.status(), completed));
}

absl::StatusOr<planning::HostFacts> Submission::MeasuredHost() {
  planning::HostFacts host = options_.host;
  host.ranks_measure_device = true;
  ASSIGN_OR_RETURN(const std::vector<v1::DeviceProfile> profiles,
                   WaitFor<absl::StatusOr<std::vector<v1::DeviceProfile>>>(
                       [&](auto done) { options_.jobs->ListDeviceProfiles(std::move(done)); }));
  for (const v1::DeviceProfile& profile : profiles) {
    host.device_profiles.push_back(spec::ProfileOf(profile));
  }
  return host;
}

absl::StatusOr<v1::Job> Submission::Resume(const v1::ResumeJobRequest& request) {
  ASSIGN_OR_RETURN(v1::Job job, WaitFor<absl::StatusOr<v1::Job>>([&](auto done) {
                     options_.jobs->GetJob(request.id(), std::move(done));
                   }));
  if (job.state() != v1::PAUSED) {
    const std::string& state = v1::JobState_Name(job.state());
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(job.id(), " is not paused: it is ", state)),
        "NOT_PAUSED", {{"state", state}});
  }
  ASSIGN_OR_RETURN(const planning::HostFacts host, MeasuredHost());
  absl::StatusOr<v1::JobPlan> plan = planning::Replan(job.plan(), request.workers(), host);
  if (!plan.ok()) return WithBadRequest(plan.status());
  if (request.validate_only()) {
    *job.mutable_plan() = *std::move(plan);
    return job;
  }
  return WaitFor<absl::StatusOr<v1::Job>>([&](auto done) {
    options_.scheduler->Resume(
        {.job = job.id(), .plan = *std::move(plan), .seen_states = job.history_size()},
        std::move(done));
  });
}

absl::StatusOr<v1::SubmitJobResponse> Submission::RunInference(
    const v1::SubmitJobRequest& request) {
  v1::JobSpec spec = request.spec();
  ASSIGN_OR_RETURN(planning::InferenceFacts facts,
                   ExamineInference({*options_.datasets, *options_.jobs}, request.steward(), spec));
  // A request that is repeated finds what its job has written.
  absl::Status exists;
  const auto found = std::find_if(facts.violations.begin(), facts.violations.end(), OutputExists);
  if (!request.request_id().empty() && found != facts.violations.end()) {
    exists = WithBadRequest(spec::ViolationsError({*found}));
    facts.violations.erase(found);
  }
  const absl::Status completed = spec::CompleteModel(*spec.mutable_model());
  const absl::StatusOr<v1::JobPlan> plan = planning::PlanInference(spec, facts, options_.host);
  if (!plan.ok()) {
    return WithBadRequest(WithModelError(plan.status(), completed));
  }
  if (!request.validate_only()) return Admit(*plan, request, std::move(exists));
  RETURN_IF_ERROR(exists);
  return ResponseOf(*plan);
}

absl::Status Submission::CheckEvaluationFile(const v1::JobPlan& plan) {
  const std::string& path = plan.spec().data().public_evaluation_file();
  if (path.empty()) return absl::OkStatus();
  auto violation = [&](absl::string_view description) {
    return BadRequestError({{std::string(kEvaluationField), std::string(description)}});
  };
  if (path[0] != '/') {
    return violation(
        absl::StrCat("must be an absolute path on the coordinator's host, but is ", path));
  }
  absl::StatusOr<std::unique_ptr<dataset::TokenFile>> file = dataset::TokenFile::Open(path);
  if (!file.ok()) return violation(file.status().message());
  const absl::Status valid = (*file)->Validate(dataset::TokenFile::Audience::kSteward);
  if (!valid.ok()) return violation(valid.message());
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(plan.spec().model()));
  if ((*file)->header().vocabulary_size > model.vocabulary_size) {
    return violation(absl::StrCat("must hold tokens of the model's vocabulary of ",
                                  model.vocabulary_size, ", but has one of ",
                                  (*file)->header().vocabulary_size));
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> registered,
                   WaitFor<absl::StatusOr<std::optional<std::string>>>([&](auto done) {
                     options_.datasets->FindContent((*file)->HexSha256(), std::move(done));
                   }));
  if (!registered.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const v1::Dataset dataset, WaitFor<absl::StatusOr<v1::Dataset>>([&](auto done) {
                     options_.datasets->Get(*registered, std::move(done));
                   }));
  if (!dataset.budgeted()) return absl::OkStatus();
  return violation(
      absl::StrCat("must be public, but its content is registered with a budget, as dataset \"",
                   *registered, "\""));
}

absl::StatusOr<v1::SubmitJobResponse> Submission::Validate(const v1::JobPlan& plan, bool steward) {
  ASSIGN_OR_RETURN(const ledger::ReservationRequest reservation, ReservationFor(plan, steward));
  ASSIGN_OR_RETURN(const v1::Dataset dataset, WaitFor<absl::StatusOr<v1::Dataset>>([&](auto done) {
                     options_.datasets->CheckReserve(reservation, std::move(done));
                   }));
  v1::SubmitJobResponse response = ResponseOf(plan);
  ASSIGN_OR_RETURN(*response.mutable_schedule(), planning::ScheduleText(plan));
  v1::Job& job = *response.mutable_job();
  if (plan.privacy().not_private()) return response;
  ASSIGN_OR_RETURN(const planning::CrashCost crash, planning::CostOfCrash(plan));
  job.mutable_plan()->add_notes(absl::StrFormat(
      "Running up to %d steps again after a crash costs epsilon %.3g, which privacy.crash_reserve "
      "can set aside.",
      crash.steps, crash.epsilon));
  if (dataset.budgeted()) {
    job.mutable_plan()->add_notes(
        absl::StrFormat("The budget of \"%s\" has epsilon %.4g of %.4g left before this job.",
                        dataset.name(), dataset.left_epsilon(), dataset.budget().epsilon()));
  }
  return response;
}

absl::StatusOr<v1::SubmitJobResponse> Submission::Admit(const v1::JobPlan& plan,
                                                        const v1::SubmitJobRequest& request,
                                                        absl::Status unless_known) {
  scheduler::AdmitRequest admit;
  admit.unless_known = std::move(unless_known);
  admit.plan = plan;
  admit.request_id = request.request_id();
  admit.steward = request.steward();
  ASSIGN_OR_RETURN(scheduler::AdmitResult result,
                   WaitFor<absl::StatusOr<scheduler::AdmitResult>>([&](auto done) {
                     options_.scheduler->Admit(std::move(admit), std::move(done));
                   }));
  v1::SubmitJobResponse response;
  *response.mutable_job() = std::move(result.job);
  response.set_existing(result.existing);
  return response;
}

}  // namespace sotto::api
