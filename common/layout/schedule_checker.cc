#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"

namespace sotto::layout {
namespace {

// Replays a schedule line by line; knows nothing of how it was built.
class Replay {
 public:
  explicit Replay(const ScheduleOptions& options)
      : options_(options),
        gathered_(1 + options.gathered_slots, -1),
        gradients_(1 + options.gradient_slots, -1) {}

  absl::Status Run(const ExecutionSchedule& schedule) {
    for (line_ = 0; line_ < schedule.operations.size(); ++line_) {
      RETURN_IF_ERROR(Step(schedule.operations[line_]));
    }
    for (int unit : gathered_) {
      if (unit >= 0) return Wrong(absl::StrCat("unit ", unit, " is still gathered at the end"));
    }
    if (schedule.micro_batches > 0) RETURN_IF_ERROR(FinishMicroBatch());
    if (micro_batch_ + 1 != schedule.micro_batches) return Wrong("micro-batches are missing");
    return absl::OkStatus();
  }

 private:
  absl::Status Step(const ScheduledOperation& operation) {
    const OperationSet set = operation.operations;
    if (set == Operation::kGather) return Gather(operation);
    if (set == Operation::kReshard) return Reshard(operation);
    if (set == Operation::kReduce) return Reduce(operation);
    if (operation.micro_batch != micro_batch_)
      RETURN_IF_ERROR(NextMicroBatch(operation.micro_batch));
    if (set == Operation::kForward) return Forward(operation);
    if (set == Operation::kCoefficients) return Coefficients();
    if (set == Operation::kFold) return Fold(operation);
    if (set == (Operation::kBackwardInput | Operation::kNorm))
      return Backward(operation, /*norm=*/true);
    if (set == (Operation::kBackwardInput | Operation::kWeightGrad))
      return Backward(operation, /*norm=*/false);
    return Wrong("a combination of operations that does not exist");
  }

  absl::Status Gather(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckSlot(operation.slot, operation.unit, gathered_));
    for (int unit : gathered_) {
      if (unit == operation.unit) return Wrong("the unit is gathered already");
    }
    if (gathered_[operation.slot] >= 0) return Wrong("the slot holds a live unit");
    gathered_[operation.slot] = operation.unit;
    return absl::OkStatus();
  }

  absl::Status Reshard(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckGathered(operation));
    gathered_[operation.slot] = -1;
    return absl::OkStatus();
  }

  absl::Status Forward(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckStage(operation));
    if (operation.stage != forward_done_) return Wrong("a forward out of order");
    ++forward_done_;
    return absl::OkStatus();
  }

  absl::Status Backward(const ScheduledOperation& operation, bool norm) {
    RETURN_IF_ERROR(CheckStage(operation));
    if (options_.forward_only) return Wrong("a backward in a forward-only schedule");
    if (forward_done_ != num_stages()) return Wrong("a backward before the forward is whole");
    const bool wants_norm = options_.kept != Kept::kNothing && !coefficients_;
    if (norm != wants_norm) return Wrong("norms or weight gradients at the wrong time");
    if (!norm && options_.kept == Kept::kExampleGrads)
      return Wrong("a second backward pass, but gradients are held");
    int& done = norm ? norms_done_ : weight_grads_done_;
    if (operation.stage != num_stages() - 1 - done) return Wrong("a backward out of order");
    ++done;
    return norm ? absl::OkStatus() : WriteGradient(operation);
  }

  absl::Status Coefficients() {
    if (options_.kept == Kept::kNothing || coefficients_ || norms_done_ != num_stages()) {
      return Wrong("coefficients before the norms are whole, or twice");
    }
    coefficients_ = true;
    return absl::OkStatus();
  }

  absl::Status Fold(const ScheduledOperation& operation) {
    if (options_.kept != Kept::kExampleGrads || !coefficients_) return Wrong("nothing to fold yet");
    return WriteGradient(operation);
  }

  absl::Status WriteGradient(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckSlot(operation.gradient_slot, operation.unit, gradients_));
    if (reduced_.contains(operation.unit)) return Wrong("the unit's gradient was reduced already");
    int& holder = gradients_[operation.gradient_slot];
    if (operation.clears_gradient) {
      if (holder >= 0) return Wrong("the gradient slot holds a live gradient");
      holder = operation.unit;
    }
    if (holder != operation.unit) return Wrong("the gradient slot holds another unit's gradient");
    ++writes_[operation.unit];
    return absl::OkStatus();
  }

  absl::Status Reduce(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckSlot(operation.gradient_slot, operation.unit, gradients_));
    int& holder = gradients_[operation.gradient_slot];
    if (holder != operation.unit)
      return Wrong("the gradient slot does not hold this unit's gradient");
    // With weight gradients the root has two writers: its last stage and its first one.
    const int writers = operation.unit == 0 && options_.kept != Kept::kExampleGrads ? 2 : 1;
    if (writes_[operation.unit] != writers) return Wrong("the gradient is not whole");
    holder = -1;
    reduced_.insert(operation.unit);
    return absl::OkStatus();
  }

  absl::Status NextMicroBatch(int micro_batch) {
    if (micro_batch_ >= 0) RETURN_IF_ERROR(FinishMicroBatch());
    if (micro_batch != micro_batch_ + 1) return Wrong("micro-batches out of order");
    micro_batch_ = micro_batch;
    forward_done_ = norms_done_ = weight_grads_done_ = 0;
    coefficients_ = false;
    writes_.clear();
    reduced_.clear();
    return absl::OkStatus();
  }

  absl::Status FinishMicroBatch() const {
    if (options_.forward_only) {
      if (forward_done_ != num_stages()) return Wrong("a forward is not whole");
      return reduced_.empty() ? absl::OkStatus() : Wrong("a gradient without a backward");
    }
    if (static_cast<int>(reduced_.size()) != num_stages() - 1)
      return Wrong("a unit was never reduced");
    for (int unit : gradients_) {
      if (unit >= 0) return Wrong(absl::StrCat("unit ", unit, "'s gradient is left over"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckStage(const ScheduledOperation& operation) const {
    if (operation.stage < 0 || operation.stage >= num_stages() ||
        options_.stages[operation.stage] != operation.unit) {
      return Wrong("a stage that is not the unit's");
    }
    return CheckGathered(operation);
  }

  absl::Status CheckGathered(const ScheduledOperation& operation) const {
    RETURN_IF_ERROR(CheckSlot(operation.slot, operation.unit, gathered_));
    if (gathered_[operation.slot] != operation.unit)
      return Wrong("the slot does not hold the unit");
    return absl::OkStatus();
  }

  absl::Status CheckSlot(int slot, int unit, const std::vector<int>& slots) const {
    if (slot < 0 || slot >= static_cast<int>(slots.size())) return Wrong("a slot out of range");
    if ((slot == kRootSlot) != (unit == 0))
      return Wrong("slot 0 is the root's and only the root's");
    return absl::OkStatus();
  }

  absl::Status Wrong(absl::string_view what) const {
    return absl::InternalError(absl::StrCat("schedule line ", line_ + 1, ": ", what));
  }

  int num_stages() const { return static_cast<int>(options_.stages.size()); }

  const ScheduleOptions& options_;
  std::vector<int> gathered_;   // unit in each slot, -1: none
  std::vector<int> gradients_;  // unit whose gradient is in each slot
  size_t line_ = 0;
  int micro_batch_ = -1;
  int forward_done_ = 0;
  int norms_done_ = 0;
  int weight_grads_done_ = 0;
  bool coefficients_ = false;
  std::map<int, int> writes_;
  std::set<int> reduced_;
};

}  // namespace

absl::Status CheckSchedule(const ExecutionSchedule& schedule) {
  return Replay(schedule.options).Run(schedule);
}

}  // namespace sotto::layout
