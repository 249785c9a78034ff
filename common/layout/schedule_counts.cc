#include <algorithm>

#include "common/layout/execution_schedule.h"
#include "common/layout/schedule_bundles.h"

namespace sotto::layout {
namespace {

// Blocks as the closed forms count them: by their units.
struct UnitCounts {
  int64_t all = 0;
  int64_t kept = 0;   // of `all`
  int64_t first = 0;  // of the first k that share slots
  int64_t last = 0;   // of the last k
  bool fit = false;   // those that share slots are no more than the slots
};

UnitCounts CountUnits(const Bundles& bundles, int gathered_slots) {
  UnitCounts counts{.fit = bundles.num_sharing() <= gathered_slots};
  int position = 0;
  for (int i = kRootBundle + 1; i < bundles.size(); ++i) {
    const auto units = static_cast<int64_t>(bundles[i].units.size());
    counts.all += units;
    if (bundles[i].kept_gathered) counts.kept += units;
    if (bundles[i].own_slot >= 0) continue;
    if (position < gathered_slots) counts.first += units;
    if (position >= bundles.num_sharing() - gathered_slots) counts.last += units;
    ++position;
  }
  return counts;
}

}  // namespace

CollectiveCounts CountCollectives(const ExecutionSchedule& schedule, const FlatLayout& layout,
                                  int replicas) {
  CollectiveCounts counts;
  for (const ScheduledOperation& operation : schedule.operations) {
    const bool gather = operation.operations.Has(Operation::kGather);
    const bool reduce = operation.operations.Has(Operation::kReduce);
    if (!gather && !reduce) continue;
    if (gather) ++(operation.unit == 0 ? counts.root_gathers : counts.block_gathers);
    if (reduce) ++counts.reduces;
    const UnitLayout& unit = layout.unit(operation.unit);
    int64_t elements = unit.padded_elements - unit.shard_elements;
    if (gather) elements += unit.frozen.padded_elements - unit.frozen.shard_elements;
    if (operation.sums_replicas) elements += 2 * (replicas - 1) * unit.shard_elements / replicas;
    counts.bytes_received += elements * static_cast<int64_t>(sizeof(float));
  }
  return counts;
}

CollectiveCounts ExpectedCollectives(const ScheduleOptions& options, int micro_batches) {
  if (micro_batches == 0) return {};
  const Bundles bundles(options);
  const int64_t reduces = options.forward_only ? 0 : bundles.num_trainable_units();
  const UnitCounts units = CountUnits(bundles, options.gathered_slots);
  if (options.strategy == Strategy::kNoShard) return {.reduces = reduces};
  if (options.strategy == Strategy::kShardGradOp) {
    return {.block_gathers = units.all, .root_gathers = 1, .reduces = reduces};
  }
  const int64_t sharing = units.all - units.kept;
  if (options.forward_only) {
    return {.block_gathers = units.kept + (units.fit ? sharing : micro_batches * sharing),
            .root_gathers = 1};
  }
  int64_t first = 2 * sharing - units.last;
  if (options.kept == Kept::kActivations && !units.fit) first += sharing;
  return {.block_gathers = units.kept + micro_batches * (first - units.first) + units.first,
          .root_gathers = 1,
          .reduces = micro_batches * reduces};
}

}  // namespace sotto::layout
