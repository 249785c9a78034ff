// What unset fields of a spec mean.
#ifndef SOTTO_SERVER_PLANNING_DEFAULTS_H_
#define SOTTO_SERVER_PLANNING_DEFAULTS_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

// The spec with every default that does not have to be computed (spec.proto's comments). Steps,
// noise (the metrics' too), micro-batch size and memory limit are left as they are: the plan has
// them. Fields that break rules stay as they are.
v1::JobSpec WithDefaults(const v1::JobSpec& spec, const v1::DatasetFacts& dataset);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_DEFAULTS_H_
