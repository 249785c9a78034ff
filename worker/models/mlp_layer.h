#ifndef SOTTO_WORKER_MODELS_MLP_LAYER_H_
#define SOTTO_WORKER_MODELS_MLP_LAYER_H_

#include "worker/models/stage.h"
#include "worker/nn/activation.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// act(x W + b), one row per example: [B, 1, I] to [B, 1, O].
class MlpLayer final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LoraLinear::Options linear;
    nn::ActivationKind activation = nn::ActivationKind::kRelu;
  };

  explicit MlpLayer(const Options& options)
      : unit_(options.unit), linear_(options.linear), activation_(options.activation) {}

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                     const at::Tensor& input) override {
    output_ = linear_.Forward(parameters, input, &kept_);
    return nn::Activate(activation_, output_);
  }
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override {
    return linear_.Backward(parameters, kept_,
                            nn::ActivateBackward(activation_, output_, output_grads), sink);
  }
  void Release() override {
    kept_ = {};
    output_.reset();
  }

 private:
  const int unit_;
  const nn::LoraLinear linear_;
  const nn::ActivationKind activation_;
  nn::LoraLinear::Saved kept_;
  at::Tensor output_;  // before the activation
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_MLP_LAYER_H_
