#ifndef SOTTO_WORKER_NN_LORA_LINEAR_H_
#define SOTTO_WORKER_NN_LORA_LINEAR_H_

#include <memory>
#include <optional>

#include "worker/nn/gradient_sink.h"
#include "worker/nn/linear.h"

namespace sotto::nn {

// A linear map that may carry a low-rank adapter (LoRA, Hu et al. 2021):
// y = x W + b + scale (x A) B, a composition of three linear layers, each with its own norm rule.
// Without an adapter it is the base layer alone. Which parts train is said by each part's options;
// the usual LoRA freezes the base. Stateless and thread-safe.
class LoraLinear {
 public:
  struct Adapter {
    Linear::Options down;  // A: I to rank; no bias
    Linear::Options up;    // B: rank to O; no bias
    double scale = 1;      // alpha / rank
  };
  struct Options {
    Linear::Options base;
    std::optional<Adapter> adapter;
  };
  struct Saved {
    SavedInput base, down, up;
  };

  explicit LoraLinear(const Options& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     Saved* saved) const;

  // Hands the trainable layers to `sink` and returns the gradient of the input.
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const Saved& saved,
                      const at::Tensor& output_grads, GradientSink& sink) const;

 private:
  struct AdapterLayers {
    Linear down, up;
    double scale;
  };

  const Linear base_;
  const std::unique_ptr<const AdapterLayers> adapter_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LORA_LINEAR_H_
