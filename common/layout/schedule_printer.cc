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
    {Operation::kRecompute, "RECOMPUTE"},
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
  if (!options.kept_gathered.empty()) {
    absl::StrAppend(&text, " kept_gathered ", absl::StrJoin(options.kept_gathered, ","));
  }
  if (options.prefetch_depth > 0) {
    absl::StrAppend(&text, " prefetch_depth ", options.prefetch_depth);
  }
  if (!options.checkpointed_stages.empty()) {
    absl::StrAppend(&text, " checkpointed ", absl::StrJoin(options.checkpointed_stages, ","));
  }
  if (!options.trainable_units.empty()) {
    absl::StrAppend(&text, " trainable_units ", absl::StrJoin(options.trainable_units, ","));
  }
  for (const std::vector<int>& units : options.block_units) {
    absl::StrAppend(&text, " units ", absl::StrJoin(units, ","));
  }
  return text;
}

}  // namespace

std::string PrintOperation(const ScheduledOperation& operation) {
  std::string line =
      absl::StrCat(operation.micro_batch, " ", PrintOperations(operation.operations));
  if (operation.stage >= 0) absl::StrAppend(&line, " stage ", operation.stage);
  if (operation.block >= 0) absl::StrAppend(&line, " block ", operation.block);
  if (operation.unit >= 0) absl::StrAppend(&line, " unit ", operation.unit);
  if (operation.slot >= 0) absl::StrAppend(&line, " slot ", operation.slot);
  if (operation.gradient_slot >= 0) absl::StrAppend(&line, " gradient ", operation.gradient_slot);
  if (operation.clears_gradient) absl::StrAppend(&line, " cleared");
  if (operation.sums_replicas) absl::StrAppend(&line, " replicas");
  return line;
}

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

}  // namespace sotto::layout
