#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"

namespace sotto::layout {
namespace {

struct NamedOperation {
  Operation operation;
  absl::string_view name;
};

constexpr NamedOperation kNames[] = {
    {Operation::kGather, "GATHER"},
    {Operation::kReshard, "RESHARD"},
    {Operation::kForward, "FORWARD"},
    {Operation::kBackwardInput, "BACKWARD_INPUT"},
    {Operation::kNorm, "NORM"},
    {Operation::kCoefficients, "COEFFICIENTS"},
    {Operation::kWeightGrad, "WEIGHT_GRAD"},
    {Operation::kFold, "FOLD"},
    {Operation::kReduce, "REDUCE"},
};

absl::string_view KeptName(Kept kept) {
  switch (kept) {
    case Kept::kNothing:
      return "NOTHING";
    case Kept::kActivations:
      return "ACTIVATIONS";
    case Kept::kOutputGrads:
      return "OUTPUT_GRADS";
    case Kept::kExampleGrads:
      return "EXAMPLE_GRADS";
  }
  return "";
}

std::string PrintOperations(OperationSet operations) {
  std::string text;
  for (const NamedOperation& entry : kNames) {
    if (!operations.Has(entry.operation)) continue;
    absl::StrAppend(&text, text.empty() ? "" : "+", entry.name);
  }
  return text;
}

std::string PrintOperation(const ScheduledOperation& operation) {
  std::string line =
      absl::StrCat(operation.micro_batch, " ", PrintOperations(operation.operations));
  if (operation.stage >= 0) absl::StrAppend(&line, " stage ", operation.stage);
  if (operation.unit >= 0) absl::StrAppend(&line, " unit ", operation.unit);
  if (operation.slot >= 0) absl::StrAppend(&line, " slot ", operation.slot);
  if (operation.gradient_slot >= 0) absl::StrAppend(&line, " gradient ", operation.gradient_slot);
  if (operation.clears_gradient) absl::StrAppend(&line, " cleared");
  if (operation.sums_replicas) absl::StrAppend(&line, " replicas");
  return line;
}

// What differs from the usual, so that the usual text is short.
std::string PrintUnusual(const ScheduleOptions& options) {
  std::string text;
  if (options.forward_only) absl::StrAppend(&text, " forward_only");
  if (options.deferred_norms) absl::StrAppend(&text, " deferred_norms");
  if (!options.trainable_stages.empty()) {
    absl::StrAppend(&text, " trainable ", absl::StrJoin(options.trainable_stages, ","));
  }
  if (!options.held_work.empty()) {
    absl::StrAppend(&text, " held ",
                    absl::StrJoin(options.held_work, ",", [](std::string* out, OperationSet work) {
                      out->append(PrintOperations(work));
                    }));
  }
  return text;
}

}  // namespace

std::string PrintSchedule(const ExecutionSchedule& schedule) {
  std::string text;
  for (const ScheduledOperation& operation : schedule.operations) {
    absl::StrAppend(&text, PrintOperation(operation), "\n");
  }
  return text;
}

absl::StatusOr<std::string> CanonicalScheduleText(const ScheduleOptions& options) {
  ASSIGN_OR_RETURN(const ExecutionSchedule schedule, BuildSchedule(options, /*micro_batches=*/2));
  return absl::StrCat(StrategyName(options.strategy), " stages ",
                      absl::StrJoin(options.stages, ","), " kept ", KeptName(options.kept),
                      PrintUnusual(options), " gathered_slots ", options.gathered_slots,
                      " gradient_slots ", options.gradient_slots, "\n", PrintSchedule(schedule));
}

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

}  // namespace sotto::layout
