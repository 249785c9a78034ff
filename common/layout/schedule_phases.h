// The compute of a micro-batch, in order, before gathers and reductions are put in.
#ifndef SOTTO_COMMON_LAYOUT_SCHEDULE_PHASES_H_
#define SOTTO_COMMON_LAYOUT_SCHEDULE_PHASES_H_

#include <vector>

#include "common/layout/execution_schedule.h"

namespace sotto::layout {

inline constexpr int kRootBlock = 0;

// One piece of compute.
struct Visit {
  OperationSet operations;
  int micro_batch = 0;
  int stage = -1;
  int block = -1;
  bool needs_weights = false;
  bool writes_gradient = false;
  bool completes_gradient = false;  // of the block's units, of the micro-batch
};

// What the gradient mode needs. The options are those of BuildSchedule, checked.
std::vector<Visit> PhasesOfMicroBatch(const ScheduleOptions& options, int micro_batch);

// Whether the stage has trainable parameters.
bool IsTrainable(const ScheduleOptions& options, int stage);

// The first stage that has; the number of stages when none has.
int FirstTrainableStage(const ScheduleOptions& options);

// Whether the stage keeps its input alone.
bool IsCheckpointed(const ScheduleOptions& options, int stage);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SCHEDULE_PHASES_H_
