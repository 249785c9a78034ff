// From a plan's choices to the options of its schedule. Whoever plans and whoever runs calls this,
// so that both build the same schedule.
#ifndef SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_
#define SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_

#include <vector>

#include "common/layout/execution_schedule.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"

namespace sotto::layout {

struct ScheduleChoice {
  UnitMode mode;
  // By unit and layer, as in UnitDescription::layers; empty: `mode` for all.
  std::vector<std::vector<UnitMode>> layer_modes;
  Strategy strategy = Strategy::kFullShard;
  int gathered_slots = 2;
  int gradient_slots = 2;
};

ScheduleOptions MakeScheduleOptions(const ModelDescription& model, const ScheduleChoice& choice);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SCHEDULE_OPTIONS_H_
