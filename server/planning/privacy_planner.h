// Noise, steps, cap and charge of a job.
#ifndef SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_
#define SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_

#include <optional>

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// Needs a spec with defaults whose privacy, data and train.expected_batch_size break no rule.
// Nothing, with the reason in `rules`, when no noise gives the epsilon, the metrics leave nothing
// for the gradient, or the cap is too large for exact clipping.
std::optional<v1::PrivacyPlan> PlanPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                           Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_
