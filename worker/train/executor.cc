#include "worker/train/executor.h"

#include <utility>

#include "common/base/status_macros.h"

namespace sotto::train {

using layout::Operation;
using layout::ScheduledOperation;

Executor::Executor(const layout::ScheduleOptions& options, models::Model& model,
                   fsdp::ShardedParameters& parameters, dp::GradientPass& gradient_pass)
    : options_(options), model_(model), parameters_(parameters), gradient_pass_(gradient_pass) {}

absl::StatusOr<dp::PrivateStatistics> Executor::SumGradients(int micro_batches,
                                                             LoadMicroBatch load) {
  ASSIGN_OR_RETURN(const layout::ExecutionSchedule* schedule,
                   ScheduleFor(micro_batches, /*forward_only=*/false));
  dp::PrivateStatistics statistics;
  const auto begin = [&](int micro_batch) {
    models::MicroBatch batch = load(micro_batch);
    gradient_pass_.Begin(batch.example_ids);
    return batch;
  };
  const auto finish = [&](const models::MicroBatch&, const at::Tensor& losses_B) {
    statistics.Accumulate(gradient_pass_.End(losses_B));
  };
  RETURN_IF_ERROR(Execute(*schedule, begin, finish));
  return statistics;
}

absl::Status Executor::ComputeLosses(int micro_batches, LoadMicroBatch load, VisitLosses visit) {
  ASSIGN_OR_RETURN(const layout::ExecutionSchedule* schedule,
                   ScheduleFor(micro_batches, /*forward_only=*/true));
  return Execute(*schedule, load, visit);
}

absl::StatusOr<const layout::ExecutionSchedule*> Executor::ScheduleFor(int micro_batches,
                                                                       bool forward_only) {
  const auto found = schedules_.find({forward_only, micro_batches});
  if (found != schedules_.end()) return &found->second;
  layout::ScheduleOptions options = options_;
  options.forward_only = forward_only;
  ASSIGN_OR_RETURN(layout::ExecutionSchedule schedule,
                   layout::BuildSchedule(options, micro_batches));
  RETURN_IF_ERROR(layout::CheckSchedule(schedule));
  return &schedules_.insert_or_assign({forward_only, micro_batches}, std::move(schedule))
              .first->second;
}

absl::Status Executor::Execute(const layout::ExecutionSchedule& schedule, LoadMicroBatch load,
                               VisitLosses finish) {
  Flow flow;
  for (size_t i = 0; i < schedule.operations.size(); ++i) {
    const ScheduledOperation& operation = schedule.operations[i];
    RETURN_IF_ERROR(Perform(operation, load, flow));
    const bool last = i + 1 == schedule.operations.size();
    if (last || schedule.operations[i + 1].micro_batch != operation.micro_batch) {
      finish(flow.batch, flow.losses_B);
      model_.Release();
      flow = {};
    }
  }
  return absl::OkStatus();
}

absl::Status Executor::Perform(const ScheduledOperation& operation, LoadMicroBatch load,
                               Flow& flow) {
  const layout::OperationSet set = operation.operations;
  if (set.Has(Operation::kGather)) return parameters_.Gather(operation.unit, operation.slot);
  if (set.Has(Operation::kReduce))
    return parameters_.Reduce(operation.unit, operation.gradient_slot);
  if (set.Has(Operation::kForward)) Forward(operation, load, flow);
  if (set.Has(Operation::kBackwardInput)) Backward(operation, flow);
  if (set.Has(Operation::kCoefficients)) {
    gradient_pass_.Clip(flow.losses_B);
    if (options_.kept == layout::Kept::kExampleGrads)
      model_.Release();  // Folding needs no activations.
  }
  if (set.Has(Operation::kFold)) gradient_pass_.Fold(operation.unit, Gradients(operation));
  return absl::OkStatus();  // RESHARD only ends a slot's claim: slots are static.
}

void Executor::Forward(const ScheduledOperation& operation, LoadMicroBatch load, Flow& flow) {
  if (operation.stage == 0) flow.batch = load(operation.micro_batch);
  const int last_stage = static_cast<int>(model_.stages().size()) - 1;
  flow.activations = model_.stages()[operation.stage]->Forward(
      parameters_.ParameterViews(operation.unit, operation.slot), flow.batch, flow.activations);
  if (operation.stage == last_stage) flow.losses_B = std::exchange(flow.activations, at::Tensor());
}

void Executor::Backward(const ScheduledOperation& operation, Flow& flow) {
  const absl::Span<const at::Tensor> parameters =
      parameters_.ParameterViews(operation.unit, operation.slot);
  const bool norm = operation.operations.Has(Operation::kNorm);
  nn::GradientSink& sink = norm ? gradient_pass_.Sink(dp::GradientPass::Verb::kNorm, operation.unit,
                                                      parameters)  // For their shapes.
                                : gradient_pass_.Sink(dp::GradientPass::Verb::kWeightGrad,
                                                      operation.unit, Gradients(operation));
  flow.output_grads =
      model_.stages()[operation.stage]->Backward(parameters, flow.batch, flow.output_grads, sink);
}

absl::Span<const at::Tensor> Executor::Gradients(const ScheduledOperation& operation) {
  if (operation.clears_gradient) parameters_.ClearGradient(operation.unit, operation.gradient_slot);
  return parameters_.GradientViews(operation.unit, operation.gradient_slot);
}

}  // namespace sotto::train
