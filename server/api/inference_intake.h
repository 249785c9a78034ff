// What a job that does not train names: files, and the job whose weights it reads.
#ifndef SOTTO_SERVER_API_INFERENCE_INTAKE_H_
#define SOTTO_SERVER_API_INFERENCE_INTAKE_H_

#include "absl/status/statusor.h"
#include "common/spec/violation.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/ledger/dataset_registry.h"
#include "server/planning/inference_planner.h"
#include "server/store/job_reader.h"

namespace sotto::api {

struct InferenceSources {
  ledger::DatasetRegistry& datasets;
  store::JobReader& jobs;
};

// Reads the prompt file, looks whether the paths may be used, finds checkpoint_of_job and puts its
// model and the output's canonical path into `spec`. What is wrong is among the facts' violations.
// Prompts are public text: a file that a dataset was registered with, by its SHA-256 or as that
// very file, is refused. No prompt is compared with records: an answer would tell who is in a
// dataset.
//
// PERMISSION_DENIED: the weights are those of a not-private job on data with a budget, which only a
// data steward (`steward`) may read. Else the database's errors. Blocks.
absl::StatusOr<planning::InferenceFacts> ExamineInference(const InferenceSources& sources,
                                                          bool steward, v1::JobSpec& spec);

// Whether it is the violation of an output that is there already.
bool OutputExists(const spec::Violation& violation);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_INFERENCE_INTAKE_H_
