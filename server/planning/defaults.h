// What unset fields of a spec mean.
#ifndef SOTTO_SERVER_PLANNING_DEFAULTS_H_
#define SOTTO_SERVER_PLANNING_DEFAULTS_H_

#include <cstdint>

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

// The spec with every default that does not have to be computed (spec.proto's comments). Steps,
// noise (the metrics' too), micro-batch size and memory limit are left as they are: the plan has
// them. Fields that break rules stay as they are.
v1::JobSpec WithDefaults(const v1::JobSpec& spec, const v1::DatasetFacts& dataset);

// Of a job that does not train; generation of at most `max_new_tokens`.
v1::JobSpec WithInferenceDefaults(const v1::JobSpec& spec, int32_t max_new_tokens);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_DEFAULTS_H_
