// Rules of the spec's model.
#ifndef SOTTO_SERVER_PLANNING_MODEL_RULES_H_
#define SOTTO_SERVER_PLANNING_MODEL_RULES_H_

#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// One family, with dimensions in range (byte counts stay inside 64 bits), and what is trained.
void CheckModel(const v1::ModelSpec& model, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_MODEL_RULES_H_
