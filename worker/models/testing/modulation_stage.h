#ifndef SOTTO_WORKER_MODELS_TESTING_MODULATION_STAGE_H_
#define SOTTO_WORKER_MODELS_TESTING_MODULATION_STAGE_H_

#include "common/layout/model_description.h"
#include "worker/models/stage.h"
#include "worker/nn/conv2d.h"
#include "worker/nn/embedding.h"
#include "worker/nn/group_norm.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// x + proj(gelu(fc(modulated))), where modulated = norm(x) (1 + scale) + shift and scale, shift are
// one row per example: modulate(pool(silu(group_norm(topic[first token])))).
class ModulationStage final : public Stage {
 public:
  ModulationStage(int unit, const layout::UnitDescription& description);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput topic, group_norm, pool, norm;
    nn::LoraLinear::Saved modulate, fc, proj;
    at::Tensor group_norm_output;
    at::Tensor modulation;
    at::Tensor normalised;
    at::Tensor fc_output;
  };

  // The branch of the first token.
  at::Tensor Modulation(absl::Span<const at::Tensor> parameters, const MicroBatch& batch);
  void ModulationBackward(absl::Span<const at::Tensor> parameters, const at::Tensor& grads,
                          nn::GradientSink& sink) const;

  const int unit_;
  const nn::Embedding topic_;
  const nn::GroupNorm group_norm_;
  const nn::Conv2d pool_;
  const nn::LoraLinear modulate_;
  const nn::LayerNorm norm_;
  const nn::LoraLinear fc_;
  const nn::LoraLinear proj_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_MODULATION_STAGE_H_
