#ifndef SOTTO_WORKER_NN_GRADIENT_SINK_H_
#define SOTTO_WORKER_NN_GRADIENT_SINK_H_

#include "worker/nn/layer.h"

namespace sotto::nn {

// Where a stage's backward hands (layer, saved input, output gradients) of every layer with
// parameters. Gradient modes differ only by their sinks and by the number of passes.
class GradientSink {
 public:
  virtual ~GradientSink() = default;

  // Called once per layer and range of examples (the head comes in several ranges when its logits
  // are many). The tensors may be reused by the stage after the call unless the layer's held_form()
  // is kOutputGrads.
  virtual void Visit(const Layer& layer, const SavedInput& saved,
                     const at::Tensor& output_grads) = 0;

  // True when a tied embedding's visit must carry what its norm's cross term needs
  // (SavedInput::head_grads_BTT).
  virtual bool needs_cross_term() const { return false; }
};

// Discards everything: a backward pass that only computes input gradients.
class NullGradientSink final : public GradientSink {
 public:
  void Visit(const Layer&, const SavedInput&, const at::Tensor&) override {}
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_GRADIENT_SINK_H_
