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

// Block i of the list is unit i + 1 of the description.
std::vector<bool> CheckpointedStages(const ModelDescription& model,
                                     const std::vector<int>& blocks) {
  std::vector<bool> stages;
  for (int unit : model.stages) {
    stages.push_back(std::find(blocks.begin(), blocks.end(), unit - 1) != blocks.end());
  }
  return stages;
}

bool IsDeferred(const UnitMode& mode) { return mode.when == When::kAfterBackward; }

}  // namespace

void ScheduleChoice::SetUnits(const WrappedModel& wrapped) {
  block_units.clear();
  trainable_units.clear();
  const auto is_unit = [](const std::vector<int>& units) { return units.size() == 1; };
  const bool by_block =
      std::all_of(wrapped.blocks.units.begin(), wrapped.blocks.units.end(), is_unit) &&
      wrapped.blocks.units.size() == wrapped.units.units.size();
  if (by_block) return;
  block_units = wrapped.blocks.units;
  for (const UnitDescription& unit : wrapped.units.units) {
    trainable_units.push_back(unit.has_trainable());
  }
}

ScheduleOptions MakeScheduleOptions(const ModelDescription& model, const ScheduleChoice& choice) {
  ScheduleOptions options{.stages = model.stages,
                          .kept = choice.mode.kept,
                          .gathered_slots = choice.gathered_slots,
                          .gradient_slots = choice.gradient_slots,
                          .strategy = choice.strategy,
                          .deferred_norms = IsDeferred(choice.mode),
                          .prefetch_depth = choice.prefetch_depth,
                          .block_units = choice.block_units,
                          .trainable_units = choice.trainable_units};
  const auto kept = std::count(choice.kept_gathered.begin(), choice.kept_gathered.end(), true);
  if (kept > 0) options.kept_gathered = choice.kept_gathered;
  if (!choice.checkpointed_blocks.empty()) {
    options.checkpointed_stages = CheckpointedStages(model, choice.checkpointed_blocks);
  }
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
