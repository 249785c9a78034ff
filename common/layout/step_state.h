// What a simulated step holds between its operations: for common/layout/step_memory alone.
#ifndef SOTTO_COMMON_LAYOUT_STEP_STATE_H_
#define SOTTO_COMMON_LAYOUT_STEP_STATE_H_

#include <map>
#include <vector>

#include "common/layout/memory_meter.h"

namespace sotto::layout {

using Tensor = MemoryMeter::Tensor;

// What a layer's forward keeps for its verbs.
using Saved = std::vector<Tensor>;

// A stage between Forward and Release.
struct StageState {
  std::vector<Tensor> kept;
  std::map<int, Saved> saved;  // by layer
  Tensor input;                // of a checkpointed stage
  // Of a head.
  Tensor logit_grads;
  Tensor cross_term;
};

// What a sink holds of one visit (dp::BookKeeping, dp::DeferredNorms).
struct HeldVisit {
  int unit = 0;
  int layer = 0;
  Saved saved;
  Tensor output_grads;
  double recomputed = 0;  // logits that are formed again
  double examples = 0;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_STEP_STATE_H_
