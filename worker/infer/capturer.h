#ifndef SOTTO_WORKER_INFER_CAPTURER_H_
#define SOTTO_WORKER_INFER_CAPTURER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/infer/task.h"

namespace sotto::infer {

// "prompt.3.layer.1"
std::string CapturedName(int64_t prompt, int64_t layer);

// CAPTURE: a safetensors file with a float32 tensor [tokens, width] for each prompt and layer, in
// that order: the residual stream after that many blocks (0: the embeddings), before any final
// norm. INVALID_ARGUMENT: a layer that the model has not, or twice. Collective.
absl::StatusOr<Outcome> RunCapture(const Task& task, const std::vector<int64_t>& layers);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_CAPTURER_H_
