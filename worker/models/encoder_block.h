#ifndef SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_
#define SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_

#include "worker/models/stage.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// A pre-norm block without a causal mask: x + attention(norm_1(x)), then x + mlp(norm_2(x)) with
// GELU. Padding is not attended to.
class EncoderBlock final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LayerNorm::Options norm_1;
    nn::LoraLinear::Options projection;  // to queries, keys and values, one after the other
    nn::GroupedAttention::Options attention;
    nn::LoraLinear::Options output;
    nn::LayerNorm::Options norm_2;
    nn::LoraLinear::Options up, down;
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
    nn::LoraLinear::Saved projection, output, up, down;
    nn::GroupedAttention::Saved scores;
    at::Tensor up_output;  // before GELU
  };

  const int unit_;
  const nn::LayerNorm norm_1_;
  const nn::LoraLinear projection_;
  const nn::GroupedAttention scores_;
  const nn::LoraLinear output_;
  const nn::LayerNorm norm_2_;
  const nn::LoraLinear up_, down_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_ENCODER_BLOCK_H_
