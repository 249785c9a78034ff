#ifndef SOTTO_WORKER_INFER_SCORER_H_
#define SOTTO_WORKER_INFER_SCORER_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/infer/task.h"

namespace sotto::infer {

// log softmax(logits)[token], in float64.
double LogProbability(absl::Span<const float> logits, int64_t token);

// SCORE: one line per prompt,
//   {"prompt": i, "log_probability": sum, "token_log_probabilities": [...]}
// of each continuation token given what precedes it; the prompt itself is not scored. Collective.
absl::StatusOr<Outcome> RunScore(const Task& task);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_SCORER_H_
