#ifndef SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_
#define SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_

#include "worker/models/feed_forward.h"
#include "worker/models/self_attention.h"
#include "worker/models/stage.h"
#include "worker/nn/layer_norm.h"

namespace sotto::models {

// A pre-norm block without a causal mask: x + attention(norm_1(x)), then x + mlp(norm_2(x)).
// Padding is not attended to.
class EncoderBlock final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LayerNorm::Options norm_1;
    SelfAttention::Options attention;
    nn::LayerNorm::Options norm_2;
    FeedForward::Options mlp;
  };

  explicit EncoderBlock(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput norm_1, norm_2;
    SelfAttention::Saved attention;
    FeedForward::Saved mlp;
  };

  const int unit_;
  const nn::LayerNorm norm_1_;
  const SelfAttention attention_;
  const nn::LayerNorm norm_2_;
  const FeedForward mlp_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_
