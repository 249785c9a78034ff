#ifndef SOTTO_WORKER_INFER_TASK_H_
#define SOTTO_WORKER_INFER_TASK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/dataset/prompt_file.h"
#include "worker/comm/communicator.h"
#include "worker/infer/inference_options.h"
#include "worker/infer/sharded_model.h"
#include "worker/infer/text_groups.h"

namespace sotto::infer {

// What all kinds that read prompts share. Borrowed.
struct Task {
  ShardedModel& model;
  comm::Communicator& communicator;
  const std::vector<dataset::Prompt>& prompts;
  bool writes_text = false;  // besides tokens: the model's tokens are bytes
  int64_t batch_size = 8;
  std::string output;
  std::string unfinished;  // begin of the names of all files but the output, beside it
  const Options& options;

  TextGroups groups() const {
    return TextGroups(static_cast<int64_t>(prompts.size()), batch_size, communicator.world_size());
  }
};

// Whether any rank was told to stop. Collective.
absl::StatusOr<bool> IsStopped(const Task& task);

// What a rank does with its groups in one pass; false: it was stopped.
using RunGroups = absl::FunctionRef<absl::StatusOr<bool>(const std::vector<TextGroup>&)>;

// Runs all passes, asks whether to stop before each and reports progress after it.
absl::StatusOr<Outcome> RunPasses(const Task& task, RunGroups run_groups);

// Lets rank 0 put the output together once every rank has written its part, and returns when it is
// there.
absl::Status FinishTogether(const Task& task, absl::FunctionRef<absl::Status()> put_together);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_TASK_H_
