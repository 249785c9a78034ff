#ifndef SOTTO_WORKER_MODELS_TESTING_PLAIN_STAGES_H_
#define SOTTO_WORKER_MODELS_TESTING_PLAIN_STAGES_H_

#include "common/layout/model_description.h"
#include "worker/models/stage.h"
#include "worker/nn/linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// x + silu(x W), W the unit's only parameter, [O, I].
class ResidualLinearStage final : public Stage {
 public:
  ResidualLinearStage(int unit, const layout::UnitDescription& description);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override;

 private:
  const int unit_;
  const nn::Linear linear_;
  nn::SavedInput kept_;
  at::Tensor output_;
};

// RMSNorm, its gain the unit's only parameter.
class ScaleStage final : public Stage {
 public:
  ScaleStage(int unit, const layout::UnitDescription& description);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  const int unit_;
  const nn::RmsNorm norm_;
  nn::SavedInput kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_PLAIN_STAGES_H_
