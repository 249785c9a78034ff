#ifndef SOTTO_SERVER_PLANNING_SHARDING_RULES_H_
#define SOTTO_SERVER_PLANNING_SHARDING_RULES_H_

#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// Of a spec without defaults: what stays gathered, what is gathered ahead, what a unit is, what is
// computed again.
void CheckSharding(const v1::JobSpec& spec, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_SHARDING_RULES_H_
