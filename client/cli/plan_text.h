// A plan for people.
#ifndef SOTTO_CLIENT_CLI_PLAN_TEXT_H_
#define SOTTO_CLIENT_CLI_PLAN_TEXT_H_

#include <string>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto::cli {

// Privacy, training, sharding, memory, notes and the promise, one fact a line.
std::string PlanText(const v1::JobPlan& plan);

// 1234567 as "1.2 MB".
std::string BytesText(int64_t bytes);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_PLAN_TEXT_H_
