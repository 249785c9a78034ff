#ifndef SOTTO_WORKER_MODELS_CLASSIFICATION_HEAD_H_
#define SOTTO_WORKER_MODELS_CLASSIFICATION_HEAD_H_

#include "worker/models/stage.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/linear.h"

namespace sotto::models {

// Final LayerNorm, mean over the example's own tokens, linear classifier, cross-entropy of the
// label. An example's loss is that of its label, 0 without one.
class ClassificationHead final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LayerNorm::Options norm;
    nn::Linear::Options classifier;
  };

  explicit ClassificationHead(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override;

 private:
  const int unit_;
  const nn::LayerNorm norm_;
  const nn::Linear classifier_;
  nn::SavedInput kept_norm_;
  nn::SavedInput kept_classifier_;
  at::Tensor pooling_BT1_;  // what each token counts for in its example's mean
  at::Tensor logit_grads_;  // [B, 1, classes]
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_CLASSIFICATION_HEAD_H_
