// The order of one step's work, as data. Every rank runs the same list; worker/train/executor.cc is
// its only interpreter.
//
//   phases (what the gradient mode needs)  --ScheduleBuilder-->  operations with GATHER, RESHARD,
//   REDUCE and slots
//
// FULL_SHARD and HYBRID_SHARD: the root unit is gathered once per step into its own slot, and so is
// every unit that is kept gathered. Blocks share `gathered_slots` slots, least recently used first
// out; the GATHERs of the next `prefetch_depth` blocks stand before the current block's compute.
// Every micro-batch's gradient is reduced. SHARD_GRAD_OP: every unit has a slot of its own; it is
// gathered once per step and its gradient, summed over the micro-batches, is reduced once.
// NO_SHARD: every rank holds every unit in its slot, always; gradients are reduced once.
//
// A block is a unit of the model's description: what a stage computes with. A unit is what is
// gathered and reduced together. They are the same unless a wrapping (wrapping.h) makes one unit of
// several blocks or several units of one block; then a slot holds what one block needs, units side
// by side: a bundle.
#ifndef SOTTO_COMMON_LAYOUT_EXECUTION_SCHEDULE_H_
#define SOTTO_COMMON_LAYOUT_EXECUTION_SCHEDULE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"

namespace sotto::layout {

enum class Operation : uint32_t {
  kGather = 1 << 0,         // all shards of `unit` into `slot`
  kReshard = 1 << 1,        // `slot` no longer holds `unit`
  kForward = 1 << 2,        // of `stage`
  kBackwardInput = 1 << 3,  // of `stage`
  // With kBackwardInput: squared norms of the stage; what the mode keeps is kept. Alone: the
  // deferred norms of the whole micro-batch.
  kNorm = 1 << 4,
  kCoefficients = 1 << 5,  // norms -> clipping coefficients of the micro-batch
  // With kBackwardInput: adds to `block`'s gradient in its gradient slot. Without: the same from
  // held inputs and output gradients; only the root's may read weights (a head that recomputes
  // logits).
  kWeightGrad = 1 << 6,
  kFold = 1 << 7,    // held gradients of `block`, with coefficients, into its gradient slot
  kReduce = 1 << 8,  // a gradient slot is added, rank by rank, into the owners' gradient shards
  // With kBackwardInput, before it: the stage's forward again from its input. What that keeps is
  // dropped after the backward.
  kRecompute = 1 << 9,
};

// Operations that one visit of a stage does together.
class OperationSet {
 public:
  constexpr OperationSet() = default;
  constexpr OperationSet(Operation operation)  // NOLINT: a single operation is a set.
      : bits_(static_cast<uint32_t>(operation)) {}

  constexpr bool Has(Operation operation) const {
    return (bits_ & static_cast<uint32_t>(operation)) != 0;
  }
  friend constexpr OperationSet operator|(OperationSet a, OperationSet b) {
    OperationSet both;
    both.bits_ = a.bits_ | b.bits_;
    return both;
  }
  friend constexpr bool operator==(OperationSet, OperationSet) = default;

 private:
  uint32_t bits_ = 0;
};

constexpr OperationSet operator|(Operation a, Operation b) {
  return OperationSet(a) | OperationSet(b);
}

// One line of the schedule. Members that do not apply are -1.
struct ScheduledOperation {
  OperationSet operations;
  int micro_batch = -1;  // position among the rank's micro-batches of the step
  int stage = -1;        // kForward, kBackwardInput
  int block = -1;        // kForward, kBackwardInput, kWeightGrad, kFold
  int unit = -1;         // kGather, kReshard, kReduce
  // Gathered slot: kGather, kReshard, kForward, kBackwardInput, the root's held kWeightGrad.
  int slot = -1;
  int gradient_slot = -1;  // kWeightGrad, kFold, kReduce
  // The first write of a gradient slot finds an older gradient there and starts from zero.
  bool clears_gradient = false;
  // kReduce of a strategy with replicas: afterwards the gradient shards of all replicas are summed.
  // The last one of the unit in a step.
  bool sums_replicas = false;

  friend bool operator==(const ScheduledOperation&, const ScheduledOperation&) = default;
};

// What the builder needs to know; made by MakeScheduleOptions (schedule_options.h).
struct ScheduleOptions {
  std::vector<int> stages;  // block of each: ModelDescription::stages
  Kept kept = Kept::kNothing;
  bool forward_only = false;  // evaluation: no backward, no gradients
  // Of blocks; more than there are blocks is the same as one for each. SHARD_GRAD_OP and NO_SHARD
  // have one for each in any case.
  int gathered_slots = 2;
  int gradient_slots = 2;
  Strategy strategy = Strategy::kFullShard;
  bool deferred_norms = false;  // one kNorm after the backward pass
  // By stage, whether it has trainable parameters; empty: all have. Stages before the first one get
  // no backward, units without any no gradient.
  std::vector<bool> trainable_stages;
  // By block, what turns held values into its gradient: kFold, kWeightGrad or both; empty: what
  // `kept` says.
  std::vector<OperationSet> held_work;
  // By unit, whether it stays gathered for the whole step in a slot of its own; empty: none but the
  // root. All units of a block or none. FULL_SHARD and HYBRID_SHARD.
  std::vector<bool> kept_gathered;
  // Blocks gathered ahead of the one that computes; 0: gathered_slots - 1, the most there can be.
  int prefetch_depth = 0;
  // By stage, whether it keeps its input alone and runs forward again in each backward; empty:
  // none. Never the root's.
  std::vector<bool> checkpointed_stages;
  // By block, its units, ascending; empty: block i is unit i. The root is one unit. Either
  // neighbouring blocks share one unit, or a block has units that no other has.
  std::vector<std::vector<int>> block_units;
  // By unit, whether it has trainable parameters; empty: all whose stages have.
  std::vector<bool> trainable_units;
};

// Slot 0 is the root's own in both families; blocks use 1 to gathered_slots and 1 to
// gradient_slots, those that stay gathered the slots after these, in order; where every unit has
// its own slot, the i-th bundle uses slot i.
inline constexpr int kRootSlot = 0;

// Whether every unit has a slot of its own, for the whole step.
inline bool HasSlotPerUnit(Strategy strategy) {
  return strategy == Strategy::kShardGradOp || strategy == Strategy::kNoShard;
}

struct ExecutionSchedule {
  ScheduleOptions options;
  int micro_batches = 0;  // per rank
  std::vector<ScheduledOperation> operations;
};

// The schedule of a step in which every rank runs `micro_batches` micro-batches (none: no
// operation). INVALID_ARGUMENT: no stages, first and last stage not the root, a block visited more
// than once in forward order, slots < 1, micro_batches < 0, nothing trainable, a member of another
// size than what it is by, deferred norms without norms, a prefetch depth beyond the slots, block
// units that are not as their comment says, checkpointed stages that hold their inputs all the same
// (book-keeping, deferred norms).
absl::StatusOr<ExecutionSchedule> BuildSchedule(const ScheduleOptions& options, int micro_batches);

// Replays the schedule. INTERNAL, naming the line: a stage whose unit is not gathered in the slot
// it names, a slot gathered over a live unit, a gradient written into a slot that holds another's,
// read before it is whole or never reduced, a forward or backward out of order, a slot out of
// range, anything left over at the end.
absl::Status CheckSchedule(const ExecutionSchedule& schedule);

// The operation as a line: "0 FORWARD stage 1 block 1 slot 1".
std::string PrintOperation(const ScheduledOperation& operation);

// One line per operation. Equal text means equal schedule; its SHA-256 is compared across ranks and
// with the plan.
std::string PrintSchedule(const ExecutionSchedule& schedule);

// The text whose SHA-256 is the plan's schedule_hash: the options and the schedule of two
// micro-batches (the second one starts from what the first left in the slots, as every later one
// does).
absl::StatusOr<std::string> CanonicalScheduleText(const ScheduleOptions& options);

struct CollectiveCounts {
  int64_t block_gathers = 0;
  int64_t root_gathers = 0;
  int64_t reduces = 0;
  int64_t bytes_received =
      0;  // by one rank, fp32 with padding: (W-1)/W of a gathered unit, of a reduced one the same

  friend bool operator==(const CollectiveCounts&, const CollectiveCounts&) = default;
};

// Counted over the schedule's operations. `layout` is the shard group's. A REDUCE that sums
// replicas receives 2 (R-1)/R of its shard besides.
CollectiveCounts CountCollectives(const ExecutionSchedule& schedule, const FlatLayout& layout,
                                  int replicas = 1);

// The same from closed forms, where the backward pass reaches the first block. For N blocks that
// are not kept gathered, K that are, U trainable units and k = min(gathered_slots, N): block
// gathers of the first micro-batch K + 2N - k (one backward pass) or K + 3N - k (two; K + N when
// k = N), K + k fewer for each later one; U reduces per micro-batch; the root gathered once per
// step. SHARD_GRAD_OP: N block gathers and U reduces per step; NO_SHARD: no gathers and U reduces
// per step. Where units are not blocks, N, K and k count bundles and each counts for its units.
// Bytes are not counted.
CollectiveCounts ExpectedCollectives(const ScheduleOptions& options, int micro_batches);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_EXECUTION_SCHEDULE_H_
