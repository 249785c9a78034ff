#include "worker/train/executor.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/train/profiling_sink.h"

namespace sotto::train {

using layout::Operation;
using layout::ScheduledOperation;

Executor::Executor(const layout::ScheduleOptions& options, models::Model& model,
                   fsdp::ShardedParameters& parameters, dp::GradientPass& gradient_pass,
                   PhaseProfile* profile, at::ScalarType compute_type, OperationChecker* checker)
    : options_(options),
      model_(model),
      parameters_(parameters),
      gradient_pass_(gradient_pass),
      profile_(profile),
      compute_type_(compute_type),
      checker_(checker) {}

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
    statistics.Accumulate(gradient_pass_.End(losses_B, found_label_B_));
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
    RETURN_IF_ERROR(Run(operation, load, flow));
    const bool last = i + 1 == schedule.operations.size();
    if (last || schedule.operations[i + 1].micro_batch != operation.micro_batch) {
      finish(flow.batch, flow.losses_B);
      model_.Release();
      flow = {};
    }
  }
  return checker_ == nullptr ? absl::OkStatus() : checker_->Finish();
}

absl::Status Executor::Run(const ScheduledOperation& operation, LoadMicroBatch load, Flow& flow) {
  if (checker_ == nullptr) return Perform(operation, load, flow);
  RETURN_IF_ERROR(checker_->Before(operation));
  RETURN_IF_ERROR(Perform(operation, load, flow));
  const bool backward = operation.operations.Has(Operation::kBackwardInput);
  const bool losses = operation.operations.Has(Operation::kForward) && flow.losses_B.defined();
  checker_->After(operation, backward ? flow.output_grads
                             : losses ? flow.losses_B
                                      : flow.activations);
  return absl::OkStatus();
}

absl::Status Executor::Perform(const ScheduledOperation& operation, LoadMicroBatch load,
                               Flow& flow) {
  const layout::OperationSet set = operation.operations;
  if (set.Has(Operation::kGather)) {
    const PhaseProfile::Span span(profile_, Phase::kGather);
    return parameters_.Gather(operation.unit, operation.slot);
  }
  if (set.Has(Operation::kReduce)) {
    const PhaseProfile::Span span(profile_, Phase::kReduce);
    return parameters_.Reduce(operation.unit, operation.gradient_slot, operation.sums_replicas);
  }
  if (set.Has(Operation::kForward)) {
    Forward(operation, load, flow);
  } else if (set.Has(Operation::kBackwardInput)) {
    Backward(operation, flow);
  } else if (set.Has(Operation::kNorm)) {
    MeasureDeferredNorms();
  } else if (set.Has(Operation::kCoefficients)) {
    Clip(flow);
  } else if (set.Has(Operation::kFold) || set.Has(Operation::kWeightGrad)) {
    FoldHeld(operation);
  }
  return absl::OkStatus();  // RESHARD only ends a slot's claim: slots are static.
}

void Executor::Forward(const ScheduledOperation& operation, LoadMicroBatch load, Flow& flow) {
  if (operation.stage == 0) {
    const PhaseProfile::Span span(profile_, Phase::kLoad);
    flow.batch = load(operation.micro_batch);
  }
  const PhaseProfile::Span span(profile_, Phase::kForward);
  const int last_stage = static_cast<int>(model_.stages().size()) - 1;
  models::Stage& stage = *model_.stages()[operation.stage];
  const bool checkpointed =
      !options_.checkpointed_stages.empty() && options_.checkpointed_stages[operation.stage];
  if (checkpointed) flow.inputs[operation.stage] = flow.activations;
  flow.activations = stage.Forward(Parameters(operation), flow.batch, flow.activations);
  if (checkpointed) stage.Release();
  if (operation.stage != last_stage) return;
  flow.losses_B = std::exchange(flow.activations, at::Tensor());
  found_label_B_ = model_.stages()[last_stage]->found_label_B();
}

// The schedule says which stages have norms or weight gradients; frozen layers visit no sink.
void Executor::Backward(const ScheduledOperation& operation, Flow& flow) {
  using Verb = dp::GradientPass::Verb;
  const PhaseProfile::Span span(profile_,
                                flow.clipped ? Phase::kSecondBackward : Phase::kFirstBackward);
  const absl::Span<const at::Tensor> parameters = Parameters(operation);
  const bool for_norms = options_.kept != layout::Kept::kNothing && !flow.clipped;
  models::Stage& stage = *model_.stages()[operation.stage];
  const bool recompute = operation.operations.Has(Operation::kRecompute);
  if (recompute) {
    const PhaseProfile::Span forward(profile_, Phase::kForward);
    stage.Forward(parameters, flow.batch, flow.inputs.at(operation.stage));
  }
  ProfilingSink sink(gradient_pass_.Sink(for_norms ? Verb::kNorm : Verb::kWeightGrad,
                                         operation.block, Gradients(operation)),
                     profile_, for_norms ? Phase::kNorms : Phase::kWeightGradients);
  flow.output_grads = stage.Backward(parameters, flow.batch, flow.output_grads, sink);
  if (!recompute) return;
  stage.Release();
  const bool again = for_norms && options_.kept == layout::Kept::kActivations;
  if (!again) flow.inputs.erase(operation.stage);
}

void Executor::MeasureDeferredNorms() {
  const PhaseProfile::Span span(profile_, Phase::kNorms);
  gradient_pass_.MeasureDeferred();
  if (profile_ != nullptr) profile_->CountMore(Phase::kNorms, -1);  // Visits counted the layers.
}

void Executor::Clip(Flow& flow) {
  const PhaseProfile::Span span(profile_, Phase::kCoefficients);
  gradient_pass_.Clip(flow.losses_B);
  flow.clipped = true;
  flow.output_grads.reset();
  if (layout::IsOnePass(options_.kept)) model_.Release();  // What was held is all that is needed.
}

void Executor::FoldHeld(const ScheduledOperation& operation) {
  const bool folds = operation.operations.Has(Operation::kFold);
  const PhaseProfile::Span span(profile_, folds ? Phase::kFold : Phase::kWeightGradients);
  absl::Span<const at::Tensor> parameters;
  if (operation.slot >= 0) parameters = Parameters(operation);
  gradient_pass_.Fold(operation.block, Gradients(operation), parameters);
}

absl::Span<const at::Tensor> Executor::Parameters(const ScheduledOperation& operation) {
  const absl::Span<const at::Tensor> views =
      parameters_.ParameterViews(operation.block, operation.slot);
  if (compute_type_ == at::kFloat) return views;
  converted_.clear();
  for (const at::Tensor& view : views) converted_.push_back(view.to(compute_type_));
  return converted_;
}

// Empty where the operation writes none.
absl::Span<const at::Tensor> Executor::Gradients(const ScheduledOperation& operation) {
  if (operation.gradient_slot < 0) return {};
  if (operation.clears_gradient)
    parameters_.ClearGradient(operation.block, operation.gradient_slot);
  return parameters_.GradientViews(operation.block, operation.gradient_slot);
}

}  // namespace sotto::train
