// What a stage of a model allocates, as data: its Forward and its Backward, operation by operation,
// without the numbers. common/layout/step_memory.h runs it under a gradient mode.
#ifndef SOTTO_COMMON_LAYOUT_STAGE_TRACE_H_
#define SOTTO_COMMON_LAYOUT_STAGE_TRACE_H_

#include <vector>

namespace sotto::layout {

// The size of a tensor of a micro-batch of B examples of T tokens, in fp32 values: B * (per_example
// + T * (per_token + T * per_token_sq)).
struct Extent {
  double per_example = 0;
  double per_token = 0;
  double per_token_sq = 0;

  friend bool operator==(const Extent&, const Extent&) = default;
};

// Values are numbered within one of the two lists; 0 is the function's argument, which its caller
// holds too: the stage's input, or the gradient of its output.
struct TraceOperation {
  enum class Kind {
    kMake,    // `result`, of `extent`
    kDrop,    // the function no longer holds `value`
    kKeep,    // the stage holds `value` until Release (forward only)
    kReturn,  // `value`; what the function still holds goes with it
    // Forward of `layer` on `value` (with its adapter), which keeps what the layer's verbs need.
    kLayer,
    // BackwardThrough of `layer` with output gradients `value`; `result` is its input's gradient,
    // of `extent` where that is not 0.
    kThrough,
    // The same for a language head: logits over the vocabulary, which become their gradient.
    kHead,
    kHeadThrough,
  };

  Kind kind = Kind::kMake;
  int value = -1;
  int result = -1;
  int layer = -1;  // position in UnitDescription::layers
  Extent extent;

  friend bool operator==(const TraceOperation&, const TraceOperation&) = default;
};

// An empty trace is that of a stage that returns its argument.
struct StageTrace {
  std::vector<TraceOperation> forward;
  std::vector<TraceOperation> backward;

  friend bool operator==(const StageTrace&, const StageTrace&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_STAGE_TRACE_H_
