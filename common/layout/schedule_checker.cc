#include <algorithm>
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
  explicit Replay(const ExecutionSchedule& schedule)
      : schedule_(schedule), options_(schedule.options) {
    const size_t blocks = options_.stages.size() - 1;
    for (size_t block = 0; block < blocks; ++block) {
      units_of_.push_back(options_.block_units.empty() ? std::vector<int>{static_cast<int>(block)}
                                                       : options_.block_units[block]);
    }
    const int slots = 1 + units_of_.back().back();
    const int shared = options_.gathered_slots + static_cast<int>(options_.kept_gathered.size());
    gathered_.resize(1 + (HasSlotPerUnit(options_.strategy) ? slots : shared));
    gradients_.resize(1 + (HasSlotPerUnit(options_.strategy) ? slots : options_.gradient_slots));
    FindWriters();
    AssignOwnSlots();
    if (!holds_units()) return;
    for (const auto& [unit, slot] : own_slots_) gathered_[slot].insert(unit);
  }

  absl::Status Run() {
    for (line_ = 0; line_ < schedule_.operations.size(); ++line_) {
      RETURN_IF_ERROR(Step(schedule_.operations[line_]));
    }
    for (const std::set<int>& units : gathered_) {
      if (units.empty() || holds_units()) continue;
      return Wrong(absl::StrCat("unit ", *units.begin(), " is still gathered at the end"));
    }
    if (schedule_.micro_batches > 0) RETURN_IF_ERROR(FinishMicroBatch());
    if (micro_batch_ + 1 != schedule_.micro_batches) return Wrong("micro-batches are missing");
    return absl::OkStatus();
  }

 private:
  // The stages, or with held gradients the blocks, that write each trainable unit's gradient.
  void FindWriters() {
    std::set<int> visited;
    for (int stage = num_stages() - 1; stage >= 0; --stage) {
      if (!IsTrainable(stage)) continue;
      first_trainable_ = stage;
      const int block = options_.stages[stage];
      if (IsHeld() && !visited.insert(block).second) continue;
      for (int unit : TrainableUnits(block)) ++writers_[unit];
    }
  }

  // Units that always are in one slot: the root's, kept ones, every one where none shares a slot.
  void AssignOwnSlots() {
    int next_kept = options_.gathered_slots + 1;
    int bundle = 0;
    for (size_t block = 0; block < units_of_.size(); ++block) {
      const std::vector<int>& units = units_of_[block];
      if (block > 0 && units == units_of_[block - 1]) continue;
      const bool kept = !options_.kept_gathered.empty() && options_.kept_gathered[units.front()];
      int slot = -1;
      if (block == 0 || HasSlotPerUnit(options_.strategy)) {
        slot = bundle;
      } else if (kept) {
        slot = next_kept++;
      }
      ++bundle;
      if (slot < 0) continue;
      for (int unit : units) own_slots_[unit] = slot;
    }
  }

  absl::Status Step(const ScheduledOperation& operation) {
    const OperationSet set = operation.operations;
    if (set == Operation::kGather) return Gather(operation);
    if (set == Operation::kReshard) return Reshard(operation);
    if (set == Operation::kReduce) return Reduce(operation);
    if (operation.micro_batch != micro_batch_)
      RETURN_IF_ERROR(NextMicroBatch(operation.micro_batch));
    if (set == Operation::kForward) return Forward(operation);
    if (set == Operation::kNorm) return DeferredNorms();
    if (set == Operation::kCoefficients) return Coefficients();
    if (set.Has(Operation::kBackwardInput)) return Backward(operation);
    if (set == HeldWork(operation.block)) return Held(operation);
    return Wrong("a combination of operations that does not exist");
  }

  absl::Status Gather(const ScheduledOperation& operation) {
    if (holds_units()) return Wrong("a gather, but every rank holds every unit");
    RETURN_IF_ERROR(CheckSlot(operation.slot, operation.unit, gathered_));
    for (const std::set<int>& units : gathered_) {
      if (units.contains(operation.unit)) return Wrong("the unit is gathered already");
    }
    for (int other : gathered_[operation.slot]) {
      if (!AreOfOneBlock(other, operation.unit)) return Wrong("the slot holds a live unit");
    }
    if (!ever_gathered_.insert(operation.unit).second && own_slots_.contains(operation.unit)) {
      return Wrong("the unit was gathered in this step");
    }
    gathered_[operation.slot].insert(operation.unit);
    return absl::OkStatus();
  }

  absl::Status Reshard(const ScheduledOperation& operation) {
    if (holds_units()) return Wrong("a reshard, but every rank holds every unit");
    RETURN_IF_ERROR(CheckSlot(operation.slot, operation.unit, gathered_));
    if (gathered_[operation.slot].erase(operation.unit) == 1) return absl::OkStatus();
    return Wrong("the slot does not hold the unit");
  }

  absl::Status Forward(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckStage(operation));
    if (operation.stage != forward_done_) return Wrong("a forward out of order");
    ++forward_done_;
    return absl::OkStatus();
  }

  // The first backward pass computes norms, or only input gradients while norms are deferred; the
  // second one, or the only one without norms, weight gradients. Frozen stages have neither.
  absl::Status Backward(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckStage(operation));
    if (options_.forward_only) return Wrong("a backward in a forward-only schedule");
    if (forward_done_ != num_stages()) return Wrong("a backward before the forward is whole");
    const bool for_norms = options_.kept != Kept::kNothing && !coefficients_;
    if (!for_norms && IsHeld()) return Wrong("a second backward pass, but gradients are held");
    int& done = for_norms ? norms_done_ : weight_grads_done_;
    if (operation.stage != num_stages() - 1 - done || operation.stage < first_trainable_) {
      return Wrong("a backward out of order");
    }
    ++done;
    OperationSet expected = Operation::kBackwardInput;
    if (IsTrainable(operation.stage) && !for_norms) expected = expected | Operation::kWeightGrad;
    if (IsTrainable(operation.stage) && for_norms && !options_.deferred_norms) {
      expected = expected | Operation::kNorm;
    }
    if (IsCheckpointed(operation.stage)) expected = expected | Operation::kRecompute;
    if (operation.operations != expected) return Wrong("the wrong work in a backward");
    return expected.Has(Operation::kWeightGrad) ? WriteGradient(operation) : absl::OkStatus();
  }

  absl::Status DeferredNorms() {
    if (!options_.deferred_norms || deferred_norms_ || !IsBackwardWhole(norms_done_)) {
      return Wrong("deferred norms before the backward is whole, or twice, or not asked for");
    }
    deferred_norms_ = true;
    return absl::OkStatus();
  }

  absl::Status Coefficients() {
    if (options_.kept == Kept::kNothing || coefficients_ || !IsBackwardWhole(norms_done_) ||
        deferred_norms_ != options_.deferred_norms) {
      return Wrong("coefficients before the norms are whole, or twice");
    }
    coefficients_ = true;
    return absl::OkStatus();
  }

  absl::Status Held(const ScheduledOperation& operation) {
    if (!coefficients_) return Wrong("held gradients before their coefficients");
    if (!held_done_.insert(operation.block).second) return Wrong("held gradients twice");
    if (operation.block == 0 && operation.operations.Has(Operation::kWeightGrad)) {
      RETURN_IF_ERROR(CheckGathered(operation));  // A head may recompute logits.
    }
    return WriteGradient(operation);
  }

  absl::Status WriteGradient(const ScheduledOperation& operation) {
    const std::vector<int> units = TrainableUnits(operation.block);
    if (units.empty()) return Wrong("a gradient of a frozen block");
    std::set<int>* holds = nullptr;
    for (int unit : units) {
      RETURN_IF_ERROR(CheckGradientSlot(operation.gradient_slot, unit));
      holds = &gradients_[operation.gradient_slot];
      if (!writers_.contains(unit)) return Wrong("a gradient of a frozen unit");
      if (reduced_.contains(unit)) return Wrong("the unit's gradient was reduced already");
      ++writes_[unit];
    }
    if (operation.clears_gradient) {
      if (!holds->empty()) return Wrong("the gradient slot holds a live gradient");
      holds->insert(units.begin(), units.end());
    }
    if (*holds == std::set<int>(units.begin(), units.end())) return absl::OkStatus();
    return Wrong("the gradient slot holds another unit's gradient");
  }

  absl::Status Reduce(const ScheduledOperation& operation) {
    RETURN_IF_ERROR(CheckGradientSlot(operation.gradient_slot, operation.unit));
    std::set<int>& holds = gradients_[operation.gradient_slot];
    if (!holds.contains(operation.unit))
      return Wrong("the gradient slot does not hold this unit's gradient");
    if (!IsWhole(operation.unit)) return Wrong("the gradient is not whole");
    if (!ReducesNow()) return Wrong("a reduction before the step's last micro-batch");
    if (operation.sums_replicas != (HasReplicas() && IsLastMicroBatch())) {
      return Wrong("replicas are summed once, after the last micro-batch");
    }
    holds.erase(operation.unit);
    reduced_.insert(operation.unit);
    return absl::OkStatus();
  }

  absl::Status NextMicroBatch(int micro_batch) {
    if (micro_batch_ >= 0) RETURN_IF_ERROR(FinishMicroBatch());
    if (micro_batch != micro_batch_ + 1) return Wrong("micro-batches out of order");
    micro_batch_ = micro_batch;
    forward_done_ = norms_done_ = weight_grads_done_ = 0;
    coefficients_ = deferred_norms_ = false;
    writes_.clear();
    held_done_.clear();
    reduced_.clear();
    return absl::OkStatus();
  }

  absl::Status FinishMicroBatch() {
    if (options_.forward_only) {
      if (forward_done_ != num_stages()) return Wrong("a forward is not whole");
      return writes_.empty() ? absl::OkStatus() : Wrong("a gradient without a backward");
    }
    for (const auto& [unit, writers] : writers_) {
      if (!IsWhole(unit)) return Wrong(absl::StrCat("unit ", unit, "'s gradient is not whole"));
      if (reduced_.contains(unit) == ReducesNow()) continue;
      return Wrong(absl::StrCat("unit ", unit, " was never reduced"));
    }
    for (const std::set<int>& units : gradients_) {
      if (!units.empty() && ReducesNow())
        return Wrong(absl::StrCat("unit ", *units.begin(), "'s gradient is left over"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckStage(const ScheduledOperation& operation) const {
    if (operation.stage < 0 || operation.stage >= num_stages() ||
        options_.stages[operation.stage] != operation.block) {
      return Wrong("a stage that is not the block's");
    }
    return CheckGathered(operation);
  }

  absl::Status CheckGathered(const ScheduledOperation& operation) const {
    for (int unit : units_of_[operation.block]) {
      RETURN_IF_ERROR(CheckSlot(operation.slot, unit, gathered_));
      if (!gathered_[operation.slot].contains(unit))
        return Wrong("the slot does not hold the unit");
    }
    return absl::OkStatus();
  }

  // A unit with a slot of its own is nowhere else; the others share those up to gathered_slots.
  absl::Status CheckSlot(int slot, int unit, const std::vector<std::set<int>>& slots) const {
    if (slot < 0 || slot >= static_cast<int>(slots.size())) return Wrong("a slot out of range");
    if ((slot == kRootSlot) != (unit == 0))
      return Wrong("slot 0 is the root's and only the root's");
    const auto own = own_slots_.find(unit);
    if (own == own_slots_.end() ? slot > options_.gathered_slots : slot != own->second) {
      return Wrong("another unit's slot");
    }
    return absl::OkStatus();
  }

  absl::Status CheckGradientSlot(int slot, int unit) const {
    if (slot < 0 || slot >= static_cast<int>(gradients_.size())) {
      return Wrong("a slot out of range");
    }
    if ((slot == kRootSlot) != (unit == 0))
      return Wrong("slot 0 is the root's and only the root's");
    if (HasSlotPerUnit(options_.strategy) && slot != own_slots_.at(unit)) {
      return Wrong("another unit's slot");
    }
    return absl::OkStatus();
  }

  absl::Status Wrong(absl::string_view what) const {
    return absl::InternalError(absl::StrCat("schedule line ", line_ + 1, ": ", what));
  }

  std::vector<int> TrainableUnits(int block) const {
    std::vector<int> units;
    for (int unit : units_of_[block]) {
      if (options_.trainable_units.empty() || options_.trainable_units[unit]) units.push_back(unit);
    }
    return units;
  }

  bool AreOfOneBlock(int a, int b) const {
    for (const std::vector<int>& units : units_of_) {
      if (std::count(units.begin(), units.end(), a) + std::count(units.begin(), units.end(), b) ==
          2)
        return true;
    }
    return false;
  }

  OperationSet HeldWork(int block) const {
    if (!IsHeld() || block < 0) return OperationSet();
    if (!options_.held_work.empty()) return options_.held_work[block];
    return options_.kept == Kept::kExampleGrads ? Operation::kFold : Operation::kWeightGrad;
  }

  bool IsWhole(int unit) { return writes_[unit] == writers_[unit]; }
  bool IsHeld() const {
    return options_.kept == Kept::kExampleGrads || options_.kept == Kept::kOutputGrads;
  }
  bool IsTrainable(int stage) const {
    return options_.trainable_stages.empty() || options_.trainable_stages[stage];
  }
  bool IsCheckpointed(int stage) const {
    return !options_.checkpointed_stages.empty() && options_.checkpointed_stages[stage];
  }
  bool IsBackwardWhole(int done) const { return done == num_stages() - first_trainable_; }
  bool IsLastMicroBatch() const { return micro_batch_ + 1 == schedule_.micro_batches; }
  bool ReducesNow() const { return !HasSlotPerUnit(options_.strategy) || IsLastMicroBatch(); }
  bool HasReplicas() const {
    return options_.strategy == Strategy::kNoShard || options_.strategy == Strategy::kHybridShard;
  }
  bool holds_units() const { return options_.strategy == Strategy::kNoShard; }
  int num_stages() const { return static_cast<int>(options_.stages.size()); }

  const ExecutionSchedule& schedule_;
  const ScheduleOptions& options_;
  std::vector<std::vector<int>> units_of_;  // by block
  std::map<int, int> own_slots_;            // by unit that shares no slot
  std::vector<std::set<int>> gathered_;     // units in each slot
  std::vector<std::set<int>> gradients_;    // units whose gradient is in each slot
  std::map<int, int> writers_;              // by unit with trainable parameters
  int first_trainable_ = 0;
  std::set<int> ever_gathered_;
  size_t line_ = 0;
  int micro_batch_ = -1;
  int forward_done_ = 0;
  int norms_done_ = 0;
  int weight_grads_done_ = 0;
  bool deferred_norms_ = false;
  bool coefficients_ = false;
  std::map<int, int> writes_;
  std::set<int> held_done_;  // blocks
  std::set<int> reduced_;
};

}  // namespace

absl::Status CheckSchedule(const ExecutionSchedule& schedule) { return Replay(schedule).Run(); }

}  // namespace sotto::layout
