#ifndef SOTTO_WORKER_NN_LAYER_NORM_H_
#define SOTTO_WORKER_NN_LAYER_NORM_H_

#include "worker/nn/layer.h"

namespace sotto::nn {

// LayerNorm over the last dimension of [B, T, D], contiguous, with gain and bias.
class LayerNorm final : public Layer {
 public:
  struct Options {
    int gain = 0;  // positions in the unit's parameter list
    int bias = 1;
    double epsilon = 1e-5;
    bool gain_frozen = false;
    bool bias_frozen = false;
    int index = 0;  // in UnitDescription::layers
  };

  explicit LayerNorm(const Options& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                    absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const override;

 private:
  const Options options_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LAYER_NORM_H_
