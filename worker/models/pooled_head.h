#ifndef SOTTO_WORKER_MODELS_POOLED_HEAD_H_
#define SOTTO_WORKER_MODELS_POOLED_HEAD_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "common/layout/image_dimensions.h"
#include "worker/models/stage.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/linear.h"

namespace sotto::models {

// One row per example, a linear head and its loss: cross-entropy of the label or squared error of
// the targets. An example without a label, or a dummy, has loss 0.
class PooledHead final : public Stage {
 public:
  enum class Pooling {
    kTokens,      // mean over the example's own tokens [B, T, D], after the norm
    kFirstToken,  // of [B, T, D], before the norm
    kImage,       // mean over the positions of [B, D, H, W], before the norm
  };
  struct Options {
    int unit = 0;
    std::optional<nn::LayerNorm::Options> norm;
    Pooling pooling = Pooling::kTokens;
    nn::Linear::Options head;
    layout::Loss loss = layout::Loss::kClassification;
  };

  explicit PooledHead(const Options& options);

  int unit() const override { return options_.unit; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  at::Tensor found_label_B() const override { return found_label_B_; }
  void Release() override;

 private:
  at::Tensor Norm(absl::Span<const at::Tensor> parameters, const at::Tensor& values);
  at::Tensor NormBackward(absl::Span<const at::Tensor> parameters, const at::Tensor& grads,
                          nn::GradientSink& sink) const;
  // To and from one row per example.
  at::Tensor Pool(const MicroBatch& batch, const at::Tensor& values);
  at::Tensor PoolBackward(const at::Tensor& grads_B1D) const;

  const Options options_;
  const std::optional<nn::LayerNorm> norm_;
  const nn::Linear head_;
  std::vector<int64_t> pooled_sizes_;  // of what is pooled
  at::Tensor pooling_BT1_;             // kTokens: what each token counts for
  nn::SavedInput kept_norm_;
  nn::SavedInput kept_head_;
  at::Tensor grads_B1K_;  // of the head's outputs
  at::Tensor found_label_B_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_POOLED_HEAD_H_
