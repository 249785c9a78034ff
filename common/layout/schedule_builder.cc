#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/schedule_phases.h"

namespace sotto::layout {
namespace {

// Puts GATHER, RESHARD and REDUCE round the visits.
class Placer {
 public:
  Placer(const ScheduleOptions& options, int micro_batches)
      : options_(options),
        last_micro_batch_(micro_batches - 1),
        gradient_slots_(UsefulSlots(options, options.gradient_slots)),
        slots_(1 + UsefulSlots(options, options.gathered_slots)) {}

  std::vector<ScheduledOperation> Place(const std::vector<Visit>& visits) {
    if (visits.empty()) return {};
    if (gathers()) Gather(kRootUnit, kRootSlot, /*micro_batch=*/0);
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
    int unit = -1;
    int64_t last_use = -1;
  };

  // Nobody allocates more slots than there are blocks.
  static int UsefulSlots(const ScheduleOptions& options, int slots) {
    const int blocks = static_cast<int>(options.stages.size()) - 2;
    return HasSlotPerUnit(options.strategy) ? blocks : std::min(slots, blocks);
  }

  bool gathers() const { return options_.strategy != Strategy::kNoShard; }

  static bool NeedsBlock(const Visit& visit) {
    return visit.needs_weights && visit.unit != kRootUnit;
  }

  static std::optional<int> NextBlock(const std::vector<Visit>& visits, size_t from) {
    for (size_t i = from; i < visits.size(); ++i) {
      if (NeedsBlock(visits[i])) return visits[i].unit;
    }
    return std::nullopt;
  }

  // The visit's own block and, before its compute, the next one.
  void GatherFor(const std::vector<Visit>& visits, size_t i) {
    const Visit& visit = visits[i];
    const int current = NeedsBlock(visit) ? visit.unit : kRootUnit;
    if (current != kRootUnit) RequireGathered(current, /*keep=*/kRootUnit, visit.micro_batch);
    const std::optional<int> next = NextBlock(visits, i + 1);
    if (!next.has_value() || *next == current) return;
    RequireGathered(*next, /*keep=*/current, visit.micro_batch);
  }

  int SlotOf(int unit) const {
    if (HasSlotPerUnit(options_.strategy)) return unit;
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].unit == unit) return static_cast<int>(slot);
    }
    return -1;
  }

  // Gathers a block into a free slot, or the least recently used one that does not hold `keep`.
  // Without such a slot nothing happens: the block is gathered when its own turn comes.
  void RequireGathered(int unit, int keep, int micro_batch) {
    if (HasSlotPerUnit(options_.strategy)) {
      if (slots_[unit].unit < 0) Gather(unit, unit, micro_batch);
      return;
    }
    if (SlotOf(unit) >= 0) return;
    int victim = -1;
    for (int slot = kRootSlot + 1; slot < static_cast<int>(slots_.size()); ++slot) {
      if (keep != kRootUnit && slots_[slot].unit == keep) continue;
      if (victim < 0 || slots_[slot].last_use < slots_[victim].last_use) victim = slot;
    }
    if (victim < 0) return;
    if (slots_[victim].unit >= 0) Reshard(victim, micro_batch);
    Gather(unit, victim, micro_batch);
  }

  void Gather(int unit, int slot, int micro_batch) {
    slots_[slot] = {.unit = unit, .last_use = now_};
    operations_.push_back(
        {.operations = Operation::kGather, .micro_batch = micro_batch, .unit = unit, .slot = slot});
  }

  void Reshard(int slot, int micro_batch) {
    operations_.push_back({.operations = Operation::kReshard,
                           .micro_batch = micro_batch,
                           .unit = slots_[slot].unit,
                           .slot = slot});
    slots_[slot] = {};
  }

  void ReshardAll(int micro_batch) {
    for (int slot = static_cast<int>(slots_.size()) - 1; slot >= 0; --slot) {
      if (slots_[slot].unit >= 0) Reshard(slot, micro_batch);
    }
  }

  void Emit(const Visit& visit) {
    ScheduledOperation operation{.operations = visit.operations,
                                 .micro_batch = visit.micro_batch,
                                 .stage = visit.stage,
                                 .unit = visit.unit};
    if (visit.needs_weights) {
      operation.slot = SlotOf(visit.unit);
      slots_[operation.slot].last_use = now_;
    }
    if (visit.writes_gradient) {
      operation.gradient_slot = GradientSlotOf(visit.unit);
      operation.clears_gradient = begun_.insert(visit.unit).second;
    }
    operations_.push_back(operation);
    const bool accumulates = HasSlotPerUnit(options_.strategy);
    if (visit.completes_gradient && (!accumulates || visit.micro_batch == last_micro_batch_)) {
      Reduce(operation);
    }
  }

  int GradientSlotOf(int unit) const {
    if (unit == kRootUnit) return kRootSlot;
    return HasSlotPerUnit(options_.strategy) ? unit : 1 + next_gradient_slot_;
  }

  void Reduce(const ScheduledOperation& writer) {
    const bool replicas =
        options_.strategy == Strategy::kNoShard || options_.strategy == Strategy::kHybridShard;
    operations_.push_back({.operations = Operation::kReduce,
                           .micro_batch = writer.micro_batch,
                           .unit = writer.unit,
                           .gradient_slot = writer.gradient_slot,
                           .sums_replicas = replicas && writer.micro_batch == last_micro_batch_});
    begun_.erase(writer.unit);
    if (writer.unit != kRootUnit) next_gradient_slot_ = (next_gradient_slot_ + 1) % gradient_slots_;
  }

  const ScheduleOptions& options_;
  const int last_micro_batch_;
  const int gradient_slots_;
  std::vector<Slot> slots_;  // [kRootSlot] is the root's
  int64_t now_ = 0;
  int next_gradient_slot_ = 0;
  std::set<int> begun_;  // units whose gradient is not reduced yet
  std::vector<ScheduledOperation> operations_;
};

absl::Status CheckStages(const std::vector<int>& stages) {
  if (stages.size() < 2 || stages.front() != kRootUnit || stages.back() != kRootUnit) {
    return absl::InvalidArgumentError("the first and the last stage must be the root unit's");
  }
  for (size_t i = 1; i + 1 < stages.size(); ++i) {
    if (stages[i] == static_cast<int>(i)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", i, " must be block ", i, "'s, but is unit ", stages[i], "'s"));
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
    return absl::InvalidArgumentError("held_work must name every unit");
  }
  if (options.deferred_norms && options.kept == Kept::kNothing) {
    return absl::InvalidArgumentError("deferred norms need a mode with norms");
  }
  return absl::OkStatus();
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

CollectiveCounts ExpectedCollectives(const ScheduleOptions& options, int micro_batches) {
  if (micro_batches == 0) return {};
  const int64_t blocks = static_cast<int64_t>(options.stages.size()) - 2;
  const int64_t units = options.forward_only ? 0 : CountTrainableUnits(options);
  if (options.strategy == Strategy::kNoShard) return {.reduces = units};
  if (options.strategy == Strategy::kShardGradOp) {
    return {.block_gathers = blocks, .root_gathers = 1, .reduces = units};
  }
  const int64_t resident = std::min<int64_t>(options.gathered_slots, blocks);
  if (options.forward_only) {
    return {.block_gathers = resident == blocks ? blocks : micro_batches * blocks,
            .root_gathers = 1};
  }
  int64_t first = 2 * blocks - resident;
  if (options.kept == Kept::kActivations && resident < blocks) first = 3 * blocks - resident;
  return {.block_gathers = micro_batches * (first - resident) + resident,
          .root_gathers = 1,
          .reduces = micro_batches * units};
}

}  // namespace sotto::layout
