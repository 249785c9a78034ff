// Plans of jobs that do not train: they read a model, prompts and nothing else.
#ifndef SOTTO_SERVER_PLANNING_INFERENCE_PLANNER_H_
#define SOTTO_SERVER_PLANNING_INFERENCE_PLANNER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/violation.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"

namespace sotto::planning {

struct PromptFacts {
  int64_t prompts = 0;
  std::string sha256;   // hex
  int32_t longest = 0;  // tokens, continuations included
  int32_t longest_continuation = 0;
  int32_t largest_token = 0;
  bool has_text = false;
};

// What the caller found behind the names in a spec; planning does no I/O.
struct InferenceFacts {
  std::optional<PromptFacts> prompts;  // none: not asked for, or not to be read
  std::string checkpoint_path;         // the newest of inference.checkpoint_of_job
  std::string note;                    // on the weights, for the reader of the plan; empty: none
  // Rules of files and jobs that are broken; listed with the others.
  std::vector<spec::Violation> violations;
};

// `spec.inference` is set and its model complete: with checkpoint_of_job that job's. Pure, as Plan.
// INVALID_ARGUMENT with every broken rule as spec::Violation: fields that only training has, a kind
// or weights left out, a model that is none of language, prompts that do not fit it, values out of
// range, more memory than the host has.
absl::StatusOr<v1::JobPlan> PlanInference(const v1::JobSpec& spec, const InferenceFacts& facts,
                                          const HostFacts& host);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_INFERENCE_PLANNER_H_
