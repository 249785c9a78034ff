#ifndef SOTTO_WORKER_INFER_FORWARD_PASS_H_
#define SOTTO_WORKER_INFER_FORWARD_PASS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/layout/execution_schedule.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/inference_batch.h"
#include "worker/models/model.h"

namespace sotto::infer {

// Forward passes over sharded parameters, after the forward-only schedule that evaluation runs too
// (common/layout/execution_schedule.h): GATHER, FORWARD, RESHARD, nothing else. Trainer thread
// only; collective.
class ForwardPass {
 public:
  // The output of a stage other than the last for one group of texts: [B, T, width].
  using VisitOutput = absl::FunctionRef<void(size_t group, int stage, const at::Tensor& output)>;
  // Logits [rows, V] of the group's wanted positions from `first` on.
  using VisitLogits =
      absl::FunctionRef<void(size_t group, int64_t first, const at::Tensor& logits)>;

  // Borrows its arguments.
  ForwardPass(layout::ScheduleOptions options, models::Model& model,
              fsdp::ShardedParameters& parameters);

  // The next `passes` calls of Run are one step of the schedule: what the strategy gathers once a
  // step is gathered by the first of them. Fewer calls are fine. INTERNAL: no such schedule.
  absl::Status Begin(int passes);

  // One pass over this rank's groups of texts (none: it takes part in the gathers alone). Stages
  // run group by group, so that a unit is gathered once for all. Logits are formed for the wanted
  // positions of each group (all where `wanted` is undefined), a few at a time.
  absl::Status Run(absl::Span<const models::InferenceBatch> groups, VisitOutput visit_output,
                   VisitLogits visit_logits);

 private:
  absl::Status Perform(const layout::ScheduledOperation& operation,
                       absl::Span<const models::InferenceBatch> groups, VisitOutput visit_output,
                       VisitLogits visit_logits, std::vector<at::Tensor>& flow);
  void FormLogits(const layout::ScheduledOperation& operation, size_t group,
                  const models::InferenceBatch& batch, const at::Tensor& input,
                  VisitLogits visit_logits);

  const layout::ScheduleOptions options_;
  models::Model& model_;
  fsdp::ShardedParameters& parameters_;
  layout::ExecutionSchedule schedule_;
  size_t next_ = 0;  // operation of the schedule
};

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_FORWARD_PASS_H_
