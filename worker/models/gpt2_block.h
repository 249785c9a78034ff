#ifndef SOTTO_WORKER_MODELS_GPT2_BLOCK_H_
#define SOTTO_WORKER_MODELS_GPT2_BLOCK_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "common/layout/model_description.h"
#include "worker/models/stage.h"
#include "worker/nn/activation.h"
#include "worker/nn/attention.h"
#include "worker/nn/cached_attention.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// A pre-norm transformer block: x + attention(ln_1(x)), then x + mlp(ln_2(x)) between whose linear
// maps stands an activation. Keeps 16 D + heads + 4 floats per token.
class Gpt2Block final : public Stage {
 public:
  // Positions in the unit's parameter list.
  struct Parameters {
    int ln_1_gain, ln_1_bias;
    int attention_weight, attention_bias;
    int projection_weight, projection_bias;
    int ln_2_gain, ln_2_bias;
    int fc_weight, fc_bias;
    int mlp_projection_weight, mlp_projection_bias;
  };

  struct Options {
    int64_t heads = 1;
    double attention_scale = 1;  // of the scores
    nn::ActivationKind activation = nn::ActivationKind::kGeluTanh;
    double layer_norm_epsilon = 1e-5;
    double lora_alpha = 0;
  };

  // `description` is that of unit `unit`; read by the constructor only.
  Gpt2Block(int unit, const layout::UnitDescription& description, const Parameters& parameters,
            const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  at::Tensor Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                   const at::Tensor& input) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput ln_1, ln_2;
    nn::LoraLinear::Saved attention, projection, fc, mlp_projection;
    nn::CausalAttention::Saved scores;
    at::Tensor fc_output;  // before the activation
  };

  using AttendTo = absl::FunctionRef<at::Tensor(const at::Tensor& projection_BT3D)>;

  at::Tensor Run(absl::Span<const at::Tensor> parameters, const at::Tensor& input, AttendTo attend,
                 Kept& kept) const;

  const int unit_;
  const nn::LayerNorm ln_1_;
  const nn::LoraLinear attention_;
  const nn::CausalAttention scores_;
  const int64_t heads_;
  const double attention_scale_;
  const nn::LoraLinear projection_;
  const nn::LayerNorm ln_2_;
  const nn::LoraLinear fc_;
  const nn::ActivationKind activation_;
  const nn::LoraLinear mlp_projection_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_GPT2_BLOCK_H_
