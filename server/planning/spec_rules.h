// Rules that a spec must keep, each on its own fields.
#ifndef SOTTO_SERVER_PLANNING_SPEC_RULES_H_
#define SOTTO_SERVER_PLANNING_SPEC_RULES_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// The rule that a dataset's name breaks when `dataset` has no name: it is not registered.
inline constexpr char kUnknownDataset[] = "must be a registered dataset";

// Checks the spec as submitted. Limits that nothing else needs (width, layers, ...) keep byte
// counts inside 64 bits. A `dataset` without a name is none: what depends on it is not looked at.
void CheckSpec(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, const HostFacts& host,
               const PlanOptions& options, Rules& rules);

// Those that jobs of every kind share.
void CheckName(const v1::JobSpec& spec, Rules& rules);
void CheckWorkers(const v1::WorkersSpec& workers, const HostFacts& host, Rules& rules);

// What needs the number of steps, given or solved. A broken learning rate is not looked at.
void CheckLearningRateReach(const v1::LearningRateSpec& rate, int64_t steps, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_SPEC_RULES_H_
