#ifndef SOTTO_WORKER_MODELS_DIT_HEAD_H_
#define SOTTO_WORKER_MODELS_DIT_HEAD_H_

#include "worker/models/stage.h"
#include "worker/nn/linear.h"
#include "worker/nn/normalise.h"

namespace sotto::models {

// A DiT's last layer: modulated norm and a linear map to patches of the noise; the loss is the mean
// squared error over all of an image's values, 0 for dummies.
class DitHead final : public Stage {
 public:
  struct Options {
    int64_t patch_size = 1;
    nn::Linear::Options modulation;  // to scale and shift, [B, 1, 2 D]
    nn::Linear::Options projection;
  };

  explicit DitHead(const Options& options);

  int unit() const override { return 0; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    at::Tensor condition, modulation, normalised;
    nn::NormaliseSaved norm;
    nn::SavedInput modulation_input, projection_input;
    at::Tensor output_grads;  // of the predicted patches
  };

  const int64_t patch_size_;
  const nn::Linear modulation_;
  const nn::Linear projection_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_DIT_HEAD_H_
