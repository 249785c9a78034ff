#ifndef SOTTO_SERVER_PLANNING_INFERENCE_RULES_H_
#define SOTTO_SERVER_PLANNING_INFERENCE_RULES_H_

#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/inference_planner.h"
#include "server/planning/planner.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// Byte tokens and the end of a record: the only vocabulary that texts are read with.
inline constexpr int32_t kByteVocabulary = 257;

// Unset: 64, or what the model's length leaves behind the longest prompt, at least 1.
int32_t MaxNewTokens(const v1::JobSpec& spec, const InferenceFacts& facts);

// Every rule of a job that does not train, on a spec without defaults.
void CheckInference(const v1::JobSpec& spec, const InferenceFacts& facts, const HostFacts& host,
                    Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_INFERENCE_RULES_H_
