#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/schedule_bundles.h"
#include "common/layout/schedule_phases.h"

namespace sotto::layout {
namespace {

// Puts GATHER, RESHARD and REDUCE round the visits.
class Placer {
 public:
  Placer(const ScheduleOptions& options, int micro_batches)
      : options_(options),
        bundles_(options),
        last_micro_batch_(micro_batches - 1),
        prefetch_depth_(PrefetchDepth(options)),
        shared_slots_(std::min(options.gathered_slots, bundles_.num_sharing())),
        gradient_slots_(std::min(options.gradient_slots, bundles_.size() - 1)),
        slots_(1 + options.gathered_slots + bundles_.size()) {}

  std::vector<ScheduledOperation> Place(const std::vector<Visit>& visits) {
    if (visits.empty()) return {};
    if (gathers()) Gather(kRootBundle, kRootSlot, /*micro_batch=*/0);
    for (size_t i = 0; i < visits.size(); ++i) {
      now_ = static_cast<int64_t>(i) + 1;
      if (gathers()) GatherFor(visits, i);
      Emit(visits[i]);
    }
    if (gathers()) ReshardAll(visits.back().micro_batch);
    return std::move(operations_);
  }

 private:
  struct Slot {
    int bundle = -1;
    int64_t last_use = -1;
  };

  // Where slots are shared, those of the blocks ahead and of the one that computes must differ.
  static int PrefetchDepth(const ScheduleOptions& options) {
    if (options.prefetch_depth > 0) return options.prefetch_depth;
    return std::max(options.gathered_slots - 1, HasSlotPerUnit(options.strategy) ? 1 : 0);
  }

  bool gathers() const { return options_.strategy != Strategy::kNoShard; }

  static bool NeedsBlock(const Visit& visit) {
    return visit.needs_weights && visit.block != kRootBlock;
  }

  // The visit's own block and, before its compute, the next ones.
  void GatherFor(const std::vector<Visit>& visits, size_t i) {
    std::vector<int> needed;  // soonest first
    if (NeedsBlock(visits[i])) Require(visits[i].block, visits[i].micro_batch, needed);
    const size_t most = needed.size() + static_cast<size_t>(prefetch_depth_);
    for (size_t next = i + 1; next < visits.size() && needed.size() < most; ++next) {
      if (NeedsBlock(visits[next])) Require(visits[next].block, visits[i].micro_batch, needed);
    }
  }

  // Gathers the block's bundle unless it is needed already, in a slot that holds none of those
  // needed sooner.
  void Require(int block, int micro_batch, std::vector<int>& needed) {
    const int bundle = bundles_.OfBlock(block);
    if (std::find(needed.begin(), needed.end(), bundle) != needed.end()) return;
    if (SlotOf(bundle) < 0) {
      const int slot = FreeSlot(bundle, needed);
      if (slots_[slot].bundle >= 0) Reshard(slot, micro_batch);
      Gather(bundle, slot, micro_batch);
    }
    needed.push_back(bundle);
  }

  int SlotOf(int bundle) const {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].bundle == bundle) return static_cast<int>(slot);
    }
    return -1;
  }

  // Its own, or the least recently used one. There is one: more blocks than slots - 1 are never
  // needed sooner.
  int FreeSlot(int bundle, const std::vector<int>& needed) const {
    if (bundles_[bundle].own_slot >= 0) return bundles_[bundle].own_slot;
    int victim = -1;
    for (int slot = kRootSlot + 1; slot <= shared_slots_; ++slot) {
      const int holds = slots_[slot].bundle;
      if (std::find(needed.begin(), needed.end(), holds) != needed.end()) continue;
      if (victim < 0 || slots_[slot].last_use < slots_[victim].last_use) victim = slot;
    }
    return victim;
  }

  void Gather(int bundle, int slot, int micro_batch) {
    slots_[slot] = {.bundle = bundle, .last_use = now_};
    for (int unit : bundles_[bundle].units) {
      operations_.push_back({.operations = Operation::kGather,
                             .micro_batch = micro_batch,
                             .unit = unit,
                             .slot = slot});
    }
  }

  void Reshard(int slot, int micro_batch) {
    for (int unit : bundles_[slots_[slot].bundle].units) {
      operations_.push_back({.operations = Operation::kReshard,
                             .micro_batch = micro_batch,
                             .unit = unit,
                             .slot = slot});
    }
    slots_[slot] = {};
  }

  void ReshardAll(int micro_batch) {
    for (int slot = static_cast<int>(slots_.size()) - 1; slot >= 0; --slot) {
      if (slots_[slot].bundle >= 0) Reshard(slot, micro_batch);
    }
  }

  void Emit(const Visit& visit) {
    ScheduledOperation operation{.operations = visit.operations,
                                 .micro_batch = visit.micro_batch,
                                 .stage = visit.stage,
                                 .block = visit.block};
    if (visit.needs_weights) {
      const int bundle = bundles_.OfBlock(visit.block);
      operation.slot = gathers() ? SlotOf(bundle) : bundles_[bundle].own_slot;
      slots_[operation.slot].last_use = now_;
    }
    if (visit.writes_gradient) {
      const int bundle = bundles_.OfBlock(visit.block);
      operation.gradient_slot = GradientSlotOf(bundle);
      operation.clears_gradient = begun_.insert(bundle).second;
    }
    operations_.push_back(operation);
    const bool accumulates = HasSlotPerUnit(options_.strategy);
    if (visit.completes_gradient && (!accumulates || visit.micro_batch == last_micro_batch_)) {
      Reduce(operation);
    }
  }

  int GradientSlotOf(int bundle) const {
    if (bundle == kRootBundle || HasSlotPerUnit(options_.strategy)) return bundle;
    return 1 + next_gradient_slot_;
  }

  void Reduce(const ScheduledOperation& writer) {
    const bool replicas =
        options_.strategy == Strategy::kNoShard || options_.strategy == Strategy::kHybridShard;
    const int bundle = bundles_.OfBlock(writer.block);
    for (int unit : bundles_[bundle].trainable_units) {
      operations_.push_back({.operations = Operation::kReduce,
                             .micro_batch = writer.micro_batch,
                             .unit = unit,
                             .gradient_slot = writer.gradient_slot,
                             .sums_replicas = replicas && writer.micro_batch == last_micro_batch_});
    }
    begun_.erase(bundle);
    if (bundle != kRootBundle) next_gradient_slot_ = (next_gradient_slot_ + 1) % gradient_slots_;
  }

  const ScheduleOptions& options_;
  const Bundles bundles_;
  const int last_micro_batch_;
  const int prefetch_depth_;
  const int shared_slots_;
  const int gradient_slots_;
  std::vector<Slot> slots_;  // [kRootSlot] is the root's
  int64_t now_ = 0;
  int next_gradient_slot_ = 0;
  std::set<int> begun_;  // bundles whose gradient is not reduced yet
  std::vector<ScheduledOperation> operations_;
};

absl::Status CheckStages(const std::vector<int>& stages) {
  if (stages.size() < 2 || stages.front() != kRootBlock || stages.back() != kRootBlock) {
    return absl::InvalidArgumentError("the first and the last stage must be the root unit's");
  }
  for (size_t i = 1; i + 1 < stages.size(); ++i) {
    if (stages[i] == static_cast<int>(i)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", i, " must be block ", i, "'s, but is block ", stages[i], "'s"));
  }
  return absl::OkStatus();
}

// What a checkpointed stage drops must not be held elsewhere.
absl::Status CheckCheckpointed(const ScheduleOptions& options) {
  const size_t stages = options.stages.size();
  if (options.checkpointed_stages.empty()) return absl::OkStatus();
  if (options.checkpointed_stages.size() != stages || options.checkpointed_stages.front() ||
      options.checkpointed_stages.back()) {
    return absl::InvalidArgumentError(
        "checkpointed_stages must name every stage, never the root's");
  }
  for (size_t stage = 1; stage + 1 < stages; ++stage) {
    const bool book_keeping =
        options.held_work.empty()
            ? options.kept == Kept::kOutputGrads
            : options.held_work[options.stages[stage]].Has(Operation::kWeightGrad);
    if (!options.checkpointed_stages[stage] || (!book_keeping && !options.deferred_norms)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", stage, " is checkpointed, but its layers' inputs are held"));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const ScheduleOptions& options) {
  const size_t stages = options.stages.size();
  RETURN_IF_ERROR(CheckStages(options.stages));
  if (options.gathered_slots < 1 || options.gradient_slots < 1) {
    return absl::InvalidArgumentError(absl::StrCat("slots must be positive, but are ",
                                                   options.gathered_slots, " gathered and ",
                                                   options.gradient_slots, " gradient"));
  }
  if (!options.trainable_stages.empty() && options.trainable_stages.size() != stages) {
    return absl::InvalidArgumentError("trainable_stages must name every stage");
  }
  if (!options.forward_only && FirstTrainableStage(options) == static_cast<int>(stages)) {
    return absl::InvalidArgumentError("no parameter is trainable");
  }
  if (!options.held_work.empty() && options.held_work.size() != stages - 1) {
    return absl::InvalidArgumentError("held_work must name every block");
  }
  if (options.deferred_norms && options.kept == Kept::kNothing) {
    return absl::InvalidArgumentError("deferred norms need a mode with norms");
  }
  const int most =
      HasSlotPerUnit(options.strategy) ? static_cast<int>(stages) : options.gathered_slots - 1;
  if (options.prefetch_depth < 0 || options.prefetch_depth > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefetch_depth must be at most ", most, ", but is ", options.prefetch_depth));
  }
  RETURN_IF_ERROR(CheckCheckpointed(options));
  return Bundles::Check(options);
}

}  // namespace

absl::StatusOr<ExecutionSchedule> BuildSchedule(const ScheduleOptions& options, int micro_batches) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (micro_batches < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("micro_batches must not be negative, but is ", micro_batches));
  }
  std::vector<Visit> visits;
  for (int j = 0; j < micro_batches; ++j) {
    for (const Visit& visit : PhasesOfMicroBatch(options, j)) visits.push_back(visit);
  }
  return ExecutionSchedule{.options = options,
                           .micro_batches = micro_batches,
                           .operations = Placer(options, micro_batches).Place(visits)};
}

}  // namespace sotto::layout
