// Fields of the spec that this coordinator refuses, whatever their values.
#ifndef SOTTO_SERVER_PLANNING_UNSUPPORTED_RULES_H_
#define SOTTO_SERVER_PLANNING_UNSUPPORTED_RULES_H_

#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

void CheckUnsupported(const v1::JobSpec& spec, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_UNSUPPORTED_RULES_H_
