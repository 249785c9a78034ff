#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"

namespace sotto::layout {
namespace {

constexpr int kRootUnit = 0;

// One piece of compute, before gathers and reductions are put in.
struct Visit {
  OperationSet operations;
  int micro_batch = 0;
  int stage = -1;
  int unit = -1;
  bool needs_weights = false;
  bool writes_gradient = false;
  bool completes_gradient = false;
};

// States the phases of one micro-batch: what the gradient mode needs, in order.
class Phases {
 public:
  explicit Phases(const ScheduleOptions& options) : options_(options) {}

  std::vector<Visit> MicroBatch(int micro_batch) {
    visits_.clear();
    micro_batch_ = micro_batch;
    Forward();
    if (options_.forward_only) return std::move(visits_);
    switch (options_.kept) {
      case Kept::kNothing:
        Backward(Operation::kWeightGrad);
        break;
      case Kept::kActivations:
        Backward(Operation::kNorm);
        Add({.operations = Operation::kCoefficients});
        Backward(Operation::kWeightGrad);
        break;
      case Kept::kExampleGrads:
        Backward(Operation::kNorm);
        Add({.operations = Operation::kCoefficients});
        Fold();
        break;
      case Kept::kOutputGrads:
        break;  // Refused by CheckOptions.
    }
    return std::move(visits_);
  }

 private:
  void Forward() {
    for (int stage = 0; stage < num_stages(); ++stage) {
      Add({.operations = Operation::kForward,
           .stage = stage,
           .unit = options_.stages[stage],
           .needs_weights = true});
    }
  }

  // The root's gradient is whole after the first stage: its embedding is last.
  void Backward(Operation what) {
    const bool writes = what == Operation::kWeightGrad;
    for (int stage = num_stages() - 1; stage >= 0; --stage) {
      const int unit = options_.stages[stage];
      Add({.operations = Operation::kBackwardInput | what,
           .stage = stage,
           .unit = unit,
           .needs_weights = true,
           .writes_gradient = writes,
           .completes_gradient = writes && (unit != kRootUnit || stage == 0)});
    }
  }

  void Fold() {
    for (int stage = num_stages() - 2; stage >= 0; --stage) {
      Add({.operations = Operation::kFold,
           .unit = options_.stages[stage],
           .writes_gradient = true,
           .completes_gradient = true});
    }
  }

  void Add(Visit visit) {
    visit.micro_batch = micro_batch_;
    visits_.push_back(visit);
  }

  int num_stages() const { return static_cast<int>(options_.stages.size()); }

  const ScheduleOptions& options_;
  int micro_batch_ = 0;
  std::vector<Visit> visits_;
};

// Puts GATHER, RESHARD and REDUCE round the visits, for FULL_SHARD.
class FullShardPlacer {
 public:
  explicit FullShardPlacer(const ScheduleOptions& options)
      : gradient_slots_(UsefulSlots(options, options.gradient_slots)),
        slots_(1 + UsefulSlots(options, options.gathered_slots)) {}

  std::vector<ScheduledOperation> Place(const std::vector<Visit>& visits) {
    if (visits.empty()) return {};
    Gather(kRootUnit, kRootSlot, /*micro_batch=*/0);
    for (size_t i = 0; i < visits.size(); ++i) {
      now_ = static_cast<int64_t>(i) + 1;
      const Visit& visit = visits[i];
      const int current = NeedsBlock(visit) ? visit.unit : kRootUnit;
      if (current != kRootUnit) RequireGathered(current, /*keep=*/kRootUnit, visit.micro_batch);
      if (const std::optional<int> next = NextBlock(visits, i + 1);
          next.has_value() && *next != current) {
        RequireGathered(*next, /*keep=*/current,
                        visit.micro_batch);  // Issued before this visit's compute.
      }
      Emit(visit);
    }
    ReshardAll(visits.back().micro_batch);
    return std::move(operations_);
  }

 private:
  struct Slot {
    int unit = -1;
    int64_t last_use = -1;
  };

  // Nobody allocates more slots than there are blocks.
  static int UsefulSlots(const ScheduleOptions& options, int slots) {
    return std::min(slots, static_cast<int>(options.stages.size()) - 2);
  }

  static bool NeedsBlock(const Visit& visit) {
    return visit.needs_weights && visit.unit != kRootUnit;
  }

  static std::optional<int> NextBlock(const std::vector<Visit>& visits, size_t from) {
    for (size_t i = from; i < visits.size(); ++i) {
      if (NeedsBlock(visits[i])) return visits[i].unit;
    }
    return std::nullopt;
  }

  int SlotOf(int unit) const {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].unit == unit) return static_cast<int>(slot);
    }
    return -1;
  }

  // Gathers a block into a free slot, or the least recently used one that does not hold `keep`.
  // Without such a slot nothing happens: the block is gathered when its own turn comes.
  void RequireGathered(int unit, int keep, int micro_batch) {
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
      const bool root = visit.unit == kRootUnit;
      operation.gradient_slot = root ? kRootSlot : 1 + next_gradient_slot_;
      operation.clears_gradient = !root || !root_gradient_begun_;
      if (root) root_gradient_begun_ = true;
    }
    operations_.push_back(operation);
    if (visit.completes_gradient) Reduce(operation);
  }

  void Reduce(const ScheduledOperation& writer) {
    operations_.push_back({.operations = Operation::kReduce,
                           .micro_batch = writer.micro_batch,
                           .unit = writer.unit,
                           .gradient_slot = writer.gradient_slot});
    if (writer.unit == kRootUnit) {
      root_gradient_begun_ = false;
    } else {
      next_gradient_slot_ = (next_gradient_slot_ + 1) % gradient_slots_;
    }
  }

  const int gradient_slots_;
  std::vector<Slot> slots_;  // [kRootSlot] is the root's
  int64_t now_ = 0;
  int next_gradient_slot_ = 0;
  bool root_gradient_begun_ = false;
  std::vector<ScheduledOperation> operations_;
};

absl::Status CheckOptions(const ScheduleOptions& options) {
  const std::vector<int>& stages = options.stages;
  if (stages.size() < 2 || stages.front() != kRootUnit || stages.back() != kRootUnit) {
    return absl::InvalidArgumentError("the first and the last stage must be the root unit's");
  }
  for (size_t i = 1; i + 1 < stages.size(); ++i) {
    if (stages[i] == static_cast<int>(i)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", i, " must be block ", i, "'s, but is unit ", stages[i], "'s"));
  }
  if (options.gathered_slots < 1 || options.gradient_slots < 1) {
    return absl::InvalidArgumentError(absl::StrCat("slots must be positive, but are ",
                                                   options.gathered_slots, " gathered and ",
                                                   options.gradient_slots, " gradient"));
  }
  if (options.kept == Kept::kOutputGrads) {
    return absl::InvalidArgumentError("book-keeping modes (OUTPUT_GRADS) are not built yet");
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
  Phases phases(options);
  std::vector<Visit> visits;
  for (int j = 0; j < micro_batches; ++j) {
    for (const Visit& visit : phases.MicroBatch(j)) visits.push_back(visit);
  }
  return ExecutionSchedule{.options = options,
                           .micro_batches = micro_batches,
                           .operations = FullShardPlacer(options).Place(visits)};
}

CollectiveCounts ExpectedCollectives(const ScheduleOptions& options, int micro_batches) {
  if (micro_batches == 0) return {};
  const int64_t blocks = static_cast<int64_t>(options.stages.size()) - 2;
  const int64_t resident = std::min<int64_t>(options.gathered_slots, blocks);
  if (options.forward_only) {
    return {.block_gathers = resident == blocks ? blocks : micro_batches * blocks,
            .root_gathers = 1};
  }
  int64_t first = 2 * blocks - resident;
  if (options.kept == Kept::kActivations && resident < blocks) first = 3 * blocks - resident;
  return {.block_gathers = micro_batches * (first - resident) + resident,
          .root_gathers = 1,
          .reduces = micro_batches * (blocks + 1)};
}

}  // namespace sotto::layout
