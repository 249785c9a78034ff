#include "worker/nn/lora_linear.h"

namespace sotto::nn {

LoraLinear::LoraLinear(const Options& options)
    : base_(options.base),
      adapter_(!options.adapter.has_value()
                   ? nullptr
                   : new AdapterLayers{.down = Linear(options.adapter->down),
                                       .up = Linear(options.adapter->up),
                                       .scale = options.adapter->scale}) {}

at::Tensor LoraLinear::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                               Saved* saved) const {
  at::Tensor output = base_.Forward(parameters, input, &saved->base);
  if (adapter_ == nullptr) return output;
  at::Tensor hidden = adapter_->down.Forward(parameters, input, &saved->down);
  // Scaled before `up`, so that the layer's own activations carry the factor into its gradient.
  hidden.mul_(adapter_->scale);
  return output.add_(adapter_->up.Forward(parameters, hidden, &saved->up));
}

at::Tensor LoraLinear::Backward(absl::Span<const at::Tensor> parameters, const Saved& saved,
                                const at::Tensor& output_grads, GradientSink& sink) const {
  at::Tensor input_grads = BackwardThrough(base_, parameters, saved.base, output_grads, sink);
  if (adapter_ == nullptr) return input_grads;
  at::Tensor hidden_grads = BackwardThrough(adapter_->up, parameters, saved.up, output_grads, sink);
  hidden_grads.mul_(adapter_->scale);
  return input_grads.add_(
      BackwardThrough(adapter_->down, parameters, saved.down, hidden_grads, sink));
}

}  // namespace sotto::nn
