// Options of schedules for tests.
#ifndef SOTTO_COMMON_LAYOUT_SCHEDULE_CASES_H_
#define SOTTO_COMMON_LAYOUT_SCHEDULE_CASES_H_

#include "common/layout/execution_schedule.h"

namespace sotto::layout {

inline ScheduleOptions MakeOptions(int blocks, Kept kept, int gathered_slots,
                                   int gradient_slots = 2) {
  ScheduleOptions options{
      .kept = kept, .gathered_slots = gathered_slots, .gradient_slots = gradient_slots};
  options.stages.push_back(0);
  for (int i = 1; i <= blocks; ++i) options.stages.push_back(i);
  options.stages.push_back(0);
  return options;
}

inline constexpr Kept kAllKept[] = {Kept::kNothing, Kept::kActivations, Kept::kOutputGrads,
                                    Kept::kExampleGrads};
inline constexpr Strategy kAllStrategies[] = {Strategy::kFullShard, Strategy::kShardGradOp,
                                              Strategy::kHybridShard, Strategy::kNoShard};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SCHEDULE_CASES_H_
