// One rank's inference under a coordinator.
#ifndef SOTTO_WORKER_INFERENCE_JOB_H_
#define SOTTO_WORKER_INFERENCE_JOB_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/comm/communicator.h"
#include "worker/control/control_client.h"
#include "worker/grant/grant_gate.h"
#include "worker/infer/inference_options.h"

namespace sotto {

struct InferenceJob {
  const v1::JobPlan& plan;
  std::string id;
  int64_t attempt = 0;
  int rank = 0;
};

// Runs the plan's inference to its end, or until `gate` is stopped: the job was cancelled, or this
// attempt is over. Rank 0 tells how far it came, a note for every tenth. The Status carries a
// train::FailureReason where another attempt would end alike.
absl::StatusOr<infer::Outcome> RunInferenceJob(const InferenceJob& job,
                                               comm::Communicator& communicator,
                                               const grant::GrantGate& gate,
                                               control::ControlClient& client);

}  // namespace sotto

#endif  // SOTTO_WORKER_INFERENCE_JOB_H_
