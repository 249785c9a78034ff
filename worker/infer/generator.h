#ifndef SOTTO_WORKER_INFER_GENERATOR_H_
#define SOTTO_WORKER_INFER_GENERATOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/infer/task.h"
#include "worker/infer/token_choice.h"

namespace sotto::infer {

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  ChoiceOptions choice;
  std::vector<int64_t> stop_tokens;  // a text ends before one of them
  uint64_t seed = 0;
};

// GENERATE: one line per prompt,
//   {"prompt": i, "tokens": [...], "text": "...", "ended_by": "stop_token" | "max_new_tokens"}
// with the new tokens alone; text where the task writes text (bytes that are not UTF-8 are
// replaced). Each group is read once and then continued token by token over its cached keys and
// values. INVALID_ARGUMENT: logits that are not numbers. Collective.
absl::StatusOr<Outcome> RunGenerate(const Task& task, const GenerateOptions& options);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_GENERATOR_H_
