#ifndef SOTTO_WORKER_MODELS_FEED_FORWARD_H_
#define SOTTO_WORKER_MODELS_FEED_FORWARD_H_

#include "absl/types/span.h"
#include "worker/nn/activation.h"
#include "worker/nn/gradient_sink.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// down(act(up(x))) on [B, T, I]. Stateless and thread-safe: what backward needs lies in Saved.
class FeedForward {
 public:
  struct Options {
    nn::LoraLinear::Options up, down;
    nn::ActivationKind activation = nn::ActivationKind::kGelu;
  };
  struct Saved {
    nn::LoraLinear::Saved up, down;
    at::Tensor up_output;  // before the activation
  };

  explicit FeedForward(const Options& options)
      : up_(options.up), down_(options.down), activation_(options.activation) {}

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     Saved* saved) const {
    saved->up_output = up_.Forward(parameters, input, &saved->up);
    return down_.Forward(parameters, nn::Activate(activation_, saved->up_output), &saved->down);
  }

  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const Saved& saved,
                      const at::Tensor& output_grads, nn::GradientSink& sink) const {
    const at::Tensor up_grads = nn::ActivateBackward(
        activation_, saved.up_output, down_.Backward(parameters, saved.down, output_grads, sink));
    return up_.Backward(parameters, saved.up, up_grads, sink);
  }

 private:
  const nn::LoraLinear up_, down_;
  const nn::ActivationKind activation_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_FEED_FORWARD_H_
