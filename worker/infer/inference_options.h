#ifndef SOTTO_WORKER_INFER_INFERENCE_OPTIONS_H_
#define SOTTO_WORKER_INFER_INFERENCE_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>

namespace sotto::infer {

struct Options {
  // Asked between batches, and between the tokens of a batch; any rank's yes stops all of them.
  // Unset: never. Called by the caller's thread.
  std::function<bool()> should_stop;
  // After each batch, on every rank: prompts (EDIT: matrices) that all ranks together are done
  // with. Unset: nobody asks.
  std::function<void(int64_t done, int64_t total)> report_progress;
  // An attempt after the first: an earlier one may have ended right after its output appeared.
  bool may_replace_output = false;
  // Files that are not finished are named after it, the same in all attempts: no two jobs share
  // one, and what a killed attempt left is replaced by the next. "": there is one job alone.
  std::string job;
};

struct Outcome {
  bool was_stopped = false;  // then nothing was written
  int64_t prompts = 0;       // done; EDIT: matrices
};

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_INFERENCE_OPTIONS_H_
