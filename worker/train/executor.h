// The only interpreter of an execution schedule (common/layout/execution_schedule.h).
#ifndef SOTTO_WORKER_TRAIN_EXECUTOR_H_
#define SOTTO_WORKER_TRAIN_EXECUTOR_H_

#include <map>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/execution_schedule.h"
#include "worker/dp/gradient_pass.h"
#include "worker/dp/private_statistics.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/model.h"
#include "worker/train/operation_checker.h"
#include "worker/train/phase_profile.h"

namespace sotto::train {

// Trainer thread only. Every rank calls the same methods with the same number of micro-batches:
// both are collective.
class Executor {
 public:
  // The rank's micro-batch of this index, called once each, in order, when its turn comes.
  using LoadMicroBatch = absl::FunctionRef<models::MicroBatch(int micro_batch)>;
  using VisitLosses =
      absl::FunctionRef<void(const models::MicroBatch&, const at::Tensor& losses_B)>;

  // Borrows its arguments. `options.forward_only` is false; `profile` and `checker` may be null.
  // With kBFloat16 as `compute_type` stages read bfloat16 copies of the gathered parameters, so
  // that activations and output gradients are bfloat16 too; losses, norms and gradients are float32
  // always.
  Executor(const layout::ScheduleOptions& options, models::Model& model,
           fsdp::ShardedParameters& parameters, dp::GradientPass& gradient_pass,
           PhaseProfile* profile = nullptr, at::ScalarType compute_type = at::kFloat,
           OperationChecker* checker = nullptr);

  // Adds the micro-batches' clipped gradient sums, of all ranks, to the owners' gradient shards.
  // Returns the private sums of this rank's examples. Errors: the communicator's; INTERNAL for a
  // schedule that does not hold.
  absl::StatusOr<dp::PrivateStatistics> SumGradients(int micro_batches, LoadMicroBatch load);

  // Forward only, for public data: hands each micro-batch's losses to `visit`.
  absl::Status ComputeLosses(int micro_batches, LoadMicroBatch load, VisitLosses visit);

 private:
  // What flows from one operation to the next within a micro-batch.
  struct Flow {
    models::MicroBatch batch;
    at::Tensor activations;            // output of the last stage that ran forward
    std::map<int, at::Tensor> inputs;  // of checkpointed stages
    at::Tensor losses_B;               // output of the last stage
    at::Tensor output_grads;           // gradient of the next stage's output, backward
    bool clipped = false;              // coefficients are known
  };

  absl::StatusOr<const layout::ExecutionSchedule*> ScheduleFor(int micro_batches,
                                                               bool forward_only);
  // `finish` is called after each micro-batch's last operation.
  absl::Status Execute(const layout::ExecutionSchedule& schedule, LoadMicroBatch load,
                       VisitLosses finish);
  absl::Status Run(const layout::ScheduledOperation& operation, LoadMicroBatch load, Flow& flow);
  absl::Status Perform(const layout::ScheduledOperation& operation, LoadMicroBatch load,
                       Flow& flow);
  void Forward(const layout::ScheduledOperation& operation, LoadMicroBatch load, Flow& flow);
  void Backward(const layout::ScheduledOperation& operation, Flow& flow);
  void MeasureDeferredNorms();
  void Clip(Flow& flow);
  void FoldHeld(const layout::ScheduledOperation& operation);
  // The gathered parameters, in the compute type. Valid until the next call.
  absl::Span<const at::Tensor> Parameters(const layout::ScheduledOperation& operation);
  absl::Span<const at::Tensor> Gradients(const layout::ScheduledOperation& operation);

  const layout::ScheduleOptions options_;
  models::Model& model_;
  fsdp::ShardedParameters& parameters_;
  dp::GradientPass& gradient_pass_;
  PhaseProfile* const profile_;
  at::Tensor found_label_B_;  // of the micro-batch at hand; undefined: no classifier
  const at::ScalarType compute_type_;
  OperationChecker* const checker_;
  std::vector<at::Tensor> converted_;  // what Parameters returned last, unless float32
  std::map<std::pair<bool, int>, layout::ExecutionSchedule>
      schedules_;  // checked, by (forward_only, micro-batches)
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_EXECUTOR_H_
