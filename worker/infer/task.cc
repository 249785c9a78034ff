#include "worker/infer/task.h"

#include <array>

#include "absl/types/span.h"
#include "common/base/status_macros.h"

namespace sotto::infer {

absl::StatusOr<bool> IsStopped(const Task& task) {
  std::array<double, 1> stopped = {
      task.options.should_stop != nullptr && task.options.should_stop() ? 1.0 : 0.0};
  RETURN_IF_ERROR(task.communicator.AllReduceSum(absl::MakeSpan(stopped)));
  return stopped[0] > 0;
}

absl::StatusOr<Outcome> RunPasses(const Task& task, RunGroups run_groups) {
  const TextGroups groups = task.groups();
  Outcome outcome;
  for (int64_t pass = 0; pass < groups.num_passes(); ++pass) {
    ASSIGN_OR_RETURN(outcome.was_stopped, IsStopped(task));
    if (outcome.was_stopped) return outcome;
    ASSIGN_OR_RETURN(const bool done, run_groups(groups.OfRank(pass, task.communicator.rank())));
    outcome.was_stopped = !done;
    if (outcome.was_stopped) return outcome;
    outcome.prompts = groups.DoneAfter(pass);
    if (task.options.report_progress != nullptr) {
      task.options.report_progress(outcome.prompts, static_cast<int64_t>(task.prompts.size()));
    }
  }
  return outcome;
}

absl::Status FinishTogether(const Task& task, absl::FunctionRef<absl::Status()> put_together) {
  RETURN_IF_ERROR(task.communicator.Barrier());
  if (task.communicator.rank() == 0) RETURN_IF_ERROR(put_together());
  return task.communicator.Barrier();
}

}  // namespace sotto::infer
