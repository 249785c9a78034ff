// Rules of the spec's privacy and sampling.
#ifndef SOTTO_SERVER_PLANNING_PRIVACY_RULES_H_
#define SOTTO_SERVER_PLANNING_PRIVACY_RULES_H_

#include <cstdint>

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// What is asked for can be accounted: noise, delta, clipping, and the way batches are drawn under
// the dataset's adjacency. `dataset_known`: the spec names a dataset, and `dataset` is it.
void CheckPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                  const PlanOptions& options, Rules& rules);

// Over so many steps the schedules stay in range. CheckPrivacy asks for this where the spec says
// train.steps; otherwise it is to be asked for once the steps are known.
void CheckSchedules(const v1::PrivacySpec& privacy, int64_t steps, Rules& rules);

// A sampler that the dataset's adjacency and the batch size allow.
//
// Guarantee: the plan's accounting (privacy_planner.h) is valid for every pair of sampler and
// adjacency that passes.
void CheckSampler(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                  Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_PRIVACY_RULES_H_
