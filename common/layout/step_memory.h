// The memory of a rank's step over its own micro-batches, found by running the stages' traces in
// the order of worker/train/executor.cc, with what worker/dp's sinks hold under the gradient mode.
//
// A stage's trace says which tensors its own code makes, keeps and drops; what a layer's verbs need
// is layer_memory.h's; what is static (shards, slots, optimizer) is memory.h's. The peak is that of
// an allocator that gives every tensor exactly what it asks for, so it is compared with
// worker/memory's count and not with the resident set.
#ifndef SOTTO_COMMON_LAYOUT_STEP_MEMORY_H_
#define SOTTO_COMMON_LAYOUT_STEP_MEMORY_H_

#include <cstdint>
#include <vector>

#include "common/layout/gradient_mode.h"
#include "common/layout/memory_meter.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

struct StepMemoryOptions {
  UnitMode mode;
  LayerModes layer_modes;  // by unit and layer; empty: `mode` for all
  int64_t examples = 1;    // of a micro-batch
  int64_t tokens = 1;      // of its longest example
  int threads = 1;
  // Logits are formed for as many examples at a time as fit (models::Model::Options).
  int64_t head_chunk_bytes = int64_t{256} << 20;
  // By stage: what its forward keeps is dropped but for its input, and formed again in each
  // backward. Empty: none.
  std::vector<bool> checkpointed_stages;
};

// What lives, by use, when most does. Held examples' gradients are there from the second
// micro-batch on. Nothing for a model without footprints.
MemoryMeter::ByUse PeakOfStep(const ModelDescription& model, const StepMemoryOptions& options);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_STEP_MEMORY_H_
