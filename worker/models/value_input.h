#ifndef SOTTO_WORKER_MODELS_VALUE_INPUT_H_
#define SOTTO_WORKER_MODELS_VALUE_INPUT_H_

#include "worker/models/stage.h"

namespace sotto::models {

// The root's first stage of a model that embeds nothing: hands on the examples' values, as images
// [B, C, H, W] or as rows [B, 1, values].
class ValueInput final : public Stage {
 public:
  explicit ValueInput(bool as_rows) : as_rows_(as_rows) {}

  int unit() const override { return 0; }
  at::Tensor Forward(absl::Span<const at::Tensor>, const MicroBatch& batch,
                     const at::Tensor&) override {
    return as_rows_ ? batch.values_BCHW.flatten(1).unsqueeze(1) : batch.values_BCHW;
  }
  at::Tensor Backward(absl::Span<const at::Tensor>, const MicroBatch&, const at::Tensor&,
                      nn::GradientSink&) override {
    return at::Tensor();
  }
  void Release() override {}

 private:
  const bool as_rows_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_VALUE_INPUT_H_
