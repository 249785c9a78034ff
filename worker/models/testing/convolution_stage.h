#ifndef SOTTO_WORKER_MODELS_TESTING_CONVOLUTION_STAGE_H_
#define SOTTO_WORKER_MODELS_TESTING_CONVOLUTION_STAGE_H_

#include "common/layout/model_description.h"
#include "worker/models/stage.h"
#include "worker/nn/conv2d.h"
#include "worker/nn/embedding.h"

namespace sotto::models {

// z = x + again[tokens]; z + mix(silu(spread(z))), z as an image [channels, T, columns]. Both
// convolutions see two rows back and none ahead: padded on both sides, cut at T.
class ConvolutionStage final : public Stage {
 public:
  ConvolutionStage(int unit, const layout::UnitDescription& description);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput again, spread, mix;
    at::Tensor spread_output;
  };

  const int unit_;
  const nn::Embedding again_;
  const nn::Conv2d spread_;
  const nn::Conv2d mix_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_CONVOLUTION_STAGE_H_
