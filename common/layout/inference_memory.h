// The memory of a rank's forward passes in inference, found by running the stages' traces in the
// order of worker/infer/forward_pass.cc: unlike in training, what a stage keeps is gone when it is
// done.
#ifndef SOTTO_COMMON_LAYOUT_INFERENCE_MEMORY_H_
#define SOTTO_COMMON_LAYOUT_INFERENCE_MEMORY_H_

#include <cstdint>
#include <vector>

#include "common/layout/memory_meter.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

struct InferenceMemoryOptions {
  std::vector<int64_t> groups;           // texts of each group that the rank reads in one pass
  int64_t tokens = 1;                    // of the longest text
  int64_t cached_tokens = 0;             // that keys and values are kept of; 0: no cache
  std::vector<int64_t> captured_layers;  // stages whose outputs are held until the pass is over
  // Positions of a group whose logits are wanted, and how many of them are formed at once.
  int64_t wanted_rows = 0;
  int64_t rows_at_once = 1;
  int threads = 1;
};

// What lives, by use, when most does. For language models; nothing for one without footprints.
MemoryMeter::ByUse PeakOfInference(const ModelDescription& model,
                                   const InferenceMemoryOptions& options);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_INFERENCE_MEMORY_H_
