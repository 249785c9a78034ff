#include "common/layout/schedule_options.h"

#include <algorithm>

namespace sotto::layout {
namespace {

// What turns the unit's held values into its gradient, or nothing where no layer says.
OperationSet HeldWork(const std::vector<UnitMode>& layer_modes) {
  OperationSet work;
  for (const UnitMode& mode : layer_modes) {
    if (mode.kept == Kept::kExampleGrads) work = work | Operation::kFold;
    if (mode.kept == Kept::kOutputGrads) work = work | Operation::kWeightGrad;
  }
  return work;
}

bool IsDeferred(const UnitMode& mode) { return mode.when == When::kAfterBackward; }

}  // namespace

ScheduleOptions MakeScheduleOptions(const ModelDescription& model, const ScheduleChoice& choice) {
  ScheduleOptions options{.stages = model.stages,
                          .kept = choice.mode.kept,
                          .gathered_slots = choice.gathered_slots,
                          .gradient_slots = choice.gradient_slots,
                          .strategy = choice.strategy,
                          .deferred_norms = IsDeferred(choice.mode)};
  std::vector<bool> trainable = model.TrainableStages();
  if (std::count(trainable.begin(), trainable.end(), false) > 0) {
    options.trainable_stages = std::move(trainable);
  }
  const bool one_pass = options.kept == Kept::kExampleGrads || options.kept == Kept::kOutputGrads;
  const OperationSet all =
      options.kept == Kept::kExampleGrads ? Operation::kFold : Operation::kWeightGrad;
  for (const std::vector<UnitMode>& unit : choice.layer_modes) {
    options.deferred_norms |= std::any_of(unit.begin(), unit.end(), IsDeferred);
    if (!one_pass) continue;
    const OperationSet work = HeldWork(unit);
    options.held_work.push_back(work == OperationSet() ? all : work);
  }
  const auto is_usual = [all](OperationSet work) { return work == all; };
  if (std::all_of(options.held_work.begin(), options.held_work.end(), is_usual)) {
    options.held_work.clear();
  }
  return options;
}

}  // namespace sotto::layout
