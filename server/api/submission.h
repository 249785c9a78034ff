// From a submitted spec to an admitted job, and from a paused job to one on other workers.
#ifndef SOTTO_SERVER_API_SUBMISSION_H_
#define SOTTO_SERVER_API_SUBMISSION_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/job_service.pb.h"
#include "proto/sotto/v1/plan.pb.h"
#include "server/ledger/dataset_registry.h"
#include "server/planning/planner.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// Externally synchronised; its methods block.
class Submission {
 public:
  struct Options {
    // These outlive the object.
    ledger::DatasetRegistry* datasets = nullptr;
    scheduler::Scheduler* scheduler = nullptr;
    store::JobReader* jobs = nullptr;
    planning::HostFacts host;  // its device profiles come from `jobs`, at each submission
  };

  explicit Submission(const Options& options) : options_(options) {}

  // Plans, checks and, unless validate_only, admits the job. The caller's role was checked. Errors
  // are SubmitJob's.
  absl::StatusOr<v1::SubmitJobResponse> Run(const v1::SubmitJobRequest& request);

  // Plans for the new workers and, unless validate_only, puts the job into the queue. The caller's
  // role was checked. Errors are ResumeJob's.
  absl::StatusOr<v1::Job> Resume(const v1::ResumeJobRequest& request);

 private:
  // With what workers measured by now.
  absl::StatusOr<planning::HostFacts> MeasuredHost();
  absl::StatusOr<v1::JobPlan> MakePlan(v1::JobSpec spec, bool steward);
  absl::StatusOr<v1::SubmitJobResponse> RunInference(const v1::SubmitJobRequest& request);
  // The public evaluation file must exist, be whole, and not hold a registered dataset's records.
  absl::Status CheckEvaluationFile(const v1::JobPlan& plan);
  absl::StatusOr<v1::SubmitJobResponse> Validate(const v1::JobPlan& plan, bool steward);
  absl::StatusOr<v1::SubmitJobResponse> Admit(const v1::JobPlan& plan,
                                              const v1::SubmitJobRequest& request,
                                              absl::Status unless_known = absl::OkStatus());

  const Options options_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_SUBMISSION_H_
