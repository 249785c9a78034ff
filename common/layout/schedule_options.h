// From a plan's choices to the options of its schedule. Whoever plans and whoever runs calls this,
// so that both build the same schedule.
#ifndef SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_
#define SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_

#include <vector>

#include "common/layout/execution_schedule.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "common/layout/wrapping.h"

namespace sotto::layout {

struct ScheduleChoice {
  UnitMode mode;
  // By unit and layer, as in UnitDescription::layers; empty: `mode` for all.
  std::vector<std::vector<UnitMode>> layer_modes;
  Strategy strategy = Strategy::kFullShard;
  int gathered_slots = 2;
  int gradient_slots = 2;
  std::vector<bool> kept_gathered;       // by unit; empty: none
  int prefetch_depth = 0;                // 0: gathered_slots - 1
  std::vector<int> checkpointed_blocks;  // positions among the blocks, the root left out
  // Empty: every block is its unit.
  std::vector<std::vector<int>> block_units;
  std::vector<bool> trainable_units;

  // Takes the units from a wrapped model.
  void SetUnits(const WrappedModel& wrapped);
};

// `model` is of blocks.
ScheduleOptions MakeScheduleOptions(const ModelDescription& model, const ScheduleChoice& choice);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_
