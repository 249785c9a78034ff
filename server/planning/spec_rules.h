// Rules that a spec must keep, each on its own fields.
#ifndef SOTTO_SERVER_PLANNING_SPEC_RULES_H_
#define SOTTO_SERVER_PLANNING_SPEC_RULES_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// Checks the spec as submitted. Limits that nothing else needs (width, layers, ...) keep byte
// counts inside 64 bits. With an unset data.dataset, `dataset` is not looked at.
void CheckSpec(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, const HostFacts& host,
               const PlanOptions& options, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_SPEC_RULES_H_
