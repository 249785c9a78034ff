// Units, schedule, micro-batch size and memory of a job.
#ifndef SOTTO_SERVER_PLANNING_SHARDING_PLANNER_H_
#define SOTTO_SERVER_PLANNING_SHARDING_PLANNER_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/device_profile.h"
#include "common/layout/execution_schedule.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"
#include "server/planning/rules.h"

namespace sotto::planning {

struct PlacedJob {
  v1::ShardingPlan sharding;
  v1::MemoryPlan memory;
  layout::DeviceProfile profile;  // what predictions rest on
  int64_t parameters = 0;         // scalars
  int64_t trained_parameters = 0;
  int32_t micro_batch_size = 0;
  std::vector<int> checkpointed_blocks;  // positions among the blocks
  bool memory_decided = false;  // a larger micro-batch would have been picked, but did not fit
  double seconds_per_step = 0;  // predicted, at the longest length
};

// Needs a spec with defaults whose model, data.lengths, workers, gradient and
// train.micro_batch_size break no rule. An unset micro-batch size becomes the largest that fits the
// memory limit, at most what about 2048 tokens hold; the mode `auto` is resolved for every layer.
// Nothing, with the reason in `rules`, when the job fits no memory, a layer mixes examples, or
// nothing is left to train.
//
// With `replaced`, a plan of the same job on other workers, its micro-batches stay, and so do its
// modes: those that `auto` picked are picked anew where they do not fit.
std::optional<PlacedJob> PlaceJob(const v1::JobSpec& spec, const HostFacts& host, Rules& rules,
                                  const v1::JobPlan* replaced = nullptr);

// The schedule's options of a plan, as its workers build them.
absl::StatusOr<layout::ScheduleOptions> ScheduleOptionsOf(const v1::JobPlan& plan);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_SHARDING_PLANNER_H_
