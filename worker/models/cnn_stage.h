#ifndef SOTTO_WORKER_MODELS_CNN_STAGE_H_
#define SOTTO_WORKER_MODELS_CNN_STAGE_H_

#include "worker/models/stage.h"
#include "worker/nn/conv2d.h"
#include "worker/nn/group_norm.h"

namespace sotto::models {

// h = relu(norm_1(conv_1(x))), then h + relu(norm_2(conv_2(h))), on images [B, C, H, W].
class CnnStage final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::Conv2d::Options conv_1;
    nn::GroupNorm::Options norm_1;
    nn::Conv2d::Options conv_2;
    nn::GroupNorm::Options norm_2;
  };

  explicit CnnStage(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput conv_1, norm_1, conv_2, norm_2;
    at::Tensor norm_1_output, norm_2_output;  // before relu
  };

  const int unit_;
  const nn::Conv2d conv_1_;
  const nn::GroupNorm norm_1_;
  const nn::Conv2d conv_2_;
  const nn::GroupNorm norm_2_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_CNN_STAGE_H_
