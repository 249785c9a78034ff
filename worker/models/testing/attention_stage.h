#ifndef SOTTO_WORKER_MODELS_TESTING_ATTENTION_STAGE_H_
#define SOTTO_WORKER_MODELS_TESTING_ATTENTION_STAGE_H_

#include "common/layout/model_description.h"
#include "worker/models/stage.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/lora_linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// x + o(attention(q(n), k(n), v(n))), n = norm(x); o is a frozen map with an adapter.
class AttentionStage final : public Stage {
 public:
  AttentionStage(int unit, const layout::UnitDescription& description);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput norm;
    nn::LoraLinear::Saved q, k, v, o;
    nn::GroupedAttention::Saved scores;
  };

  const int unit_;
  const nn::RmsNorm norm_;
  const nn::LoraLinear q_;
  const nn::LoraLinear k_;
  const nn::LoraLinear v_;
  const nn::GroupedAttention scores_;
  const nn::LoraLinear o_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_ATTENTION_STAGE_H_
