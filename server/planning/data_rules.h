// What a dataset must be like for a model to learn from it.
#ifndef SOTTO_SERVER_PLANNING_DATA_RULES_H_
#define SOTTO_SERVER_PLANNING_DATA_RULES_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// A registered dataset against the spec's model: what its records are, labels, vocabulary.
void CheckDataset(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_DATA_RULES_H_
