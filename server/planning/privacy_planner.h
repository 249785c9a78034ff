// Noise, steps, cap and charge of a job.
#ifndef SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_
#define SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_

#include <optional>

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// Needs a spec with defaults whose privacy, data and train.expected_batch_size break no rule.
// Everything but the per-unit thresholds (PlanUnitThresholds). Nothing, with the reason in `rules`,
// when no noise gives the epsilon, the metrics leave nothing for the gradient, or the cap is too
// large for exact clipping.
//
// Guarantee: what the plan's steps release under its sampler, clipping and noise segments is
// (epsilon, delta)-DP under its adjacency:
// - Poisson: the subsampled Gaussian at rate q, under add_or_remove_one, and under zero_out, where
// a
//   record that is wiped out contributes zero whether it is drawn or not.
// - Full batches: the Gaussian mechanism.
// - Shuffled, under zero_out and replace_one: a record is in one batch of an epoch, so an epoch is
//   one Gaussian mechanism, whatever the order.
std::optional<v1::PrivacyPlan> PlanPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                           Rules& rules);

// Thresholds of PER_UNIT clipping, one per unit of the placed model.
void PlanUnitThresholds(const v1::JobSpec& spec, const v1::ShardingPlan& sharding, Rules& rules,
                        v1::PrivacyPlan& plan);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_PRIVACY_PLANNER_H_
