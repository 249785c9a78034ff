#ifndef SOTTO_WORKER_NN_GRADIENT_SINK_H_
#define SOTTO_WORKER_NN_GRADIENT_SINK_H_

#include <functional>
#include <utility>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "worker/nn/layer.h"

namespace sotto::nn {

// Where a stage's backward hands (layer, saved input, output gradients) of every layer with
// parameters. Gradient modes differ only by their sinks and by the number of passes.
class GradientSink {
 public:
  virtual ~GradientSink() = default;

  // Called once per trainable layer and range of examples (the head comes in several ranges when
  // its logits are many). The stage never writes to the tensors afterwards: a sink may hold them
  // until the micro-batch ends, at the cost of their memory.
  virtual void Visit(const Layer& layer, const SavedInput& saved,
                     const at::Tensor& output_grads) = 0;

  // Visit and the gradient of the layer's input, for sinks that take both in one go (IN_LAYER).
  virtual at::Tensor Through(const Layer& layer, absl::Span<const at::Tensor> parameters,
                             const SavedInput& saved, const at::Tensor& output_grads) {
    Visit(layer, saved, output_grads);
    return layer.BackwardInput(parameters, saved, output_grads);
  }

  // Visit for a head, whose output gradients [B, T, V] are too large to be held: `again` forms them
  // once more from the unit's gathered parameters. It owns what it needs, so that it may be called
  // after the stage's Release().
  using Recompute = std::function<at::Tensor(absl::Span<const at::Tensor> parameters)>;
  virtual void VisitRecomputable(const Layer& layer, const SavedInput& saved,
                                 const at::Tensor& output_grads, Recompute again) {
    Visit(layer, saved, output_grads);
  }

  // The same as Through is to Visit.
  virtual at::Tensor ThroughRecomputable(const Layer& layer,
                                         absl::Span<const at::Tensor> parameters,
                                         const SavedInput& saved, const at::Tensor& output_grads,
                                         Recompute again) {
    VisitRecomputable(layer, saved, output_grads, std::move(again));
    return layer.BackwardInput(parameters, saved, output_grads);
  }

  // True when Through of this layer is more than Visit and BackwardInput.
  virtual bool fuses(const Layer& layer) const { return false; }

  // True when the stages' Backward will run once more for this micro-batch; else a stage may drop
  // what only Backward needs.
  virtual bool needs_another_pass() const { return false; }

  // True when the visit of this tied embedding must carry what its norm's cross term needs
  // (SavedInput::head_grads).
  virtual bool needs_cross_term(const Layer& layer) const { return false; }
};

// A layer's part in a stage's backward: hands a trainable layer to the sink and returns the
// gradient of its input (undefined for an input without gradient). Stages call nothing else.
inline at::Tensor BackwardThrough(const Layer& layer, absl::Span<const at::Tensor> parameters,
                                  const SavedInput& saved, const at::Tensor& output_grads,
                                  GradientSink& sink) {
  if (layer.parameters().empty()) return layer.BackwardInput(parameters, saved, output_grads);
  return sink.Through(layer, parameters, saved, output_grads);
}

// The same for a head, range by range of examples.
inline at::Tensor HeadBackwardThrough(const Layer& layer, absl::Span<const at::Tensor> parameters,
                                      const SavedInput& saved, const at::Tensor& output_grads,
                                      GradientSink& sink, GradientSink::Recompute again) {
  if (layer.parameters().empty()) return layer.BackwardInput(parameters, saved, output_grads);
  return sink.ThroughRecomputable(layer, parameters, saved, output_grads, std::move(again));
}

// Discards everything: a backward pass that only computes input gradients.
class NullGradientSink final : public GradientSink {
 public:
  void Visit(const Layer&, const SavedInput&, const at::Tensor&) override {}
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_GRADIENT_SINK_H_
