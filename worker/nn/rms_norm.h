#ifndef SOTTO_WORKER_NN_RMS_NORM_H_
#define SOTTO_WORKER_NN_RMS_NORM_H_

#include "worker/nn/layer.h"

namespace sotto::nn {

// y = x / sqrt(mean(x^2) + epsilon) * gain over the last dimension of [B, T, D], contiguous, in
// float32 as Hugging Face's Llama has it.
class RmsNorm final : public Layer {
 public:
  struct Options {
    int gain = 0;  // position in the unit's parameter list
    double epsilon = 1e-6;
    bool frozen = false;
    int index = 0;  // in UnitDescription::layers
  };

  explicit RmsNorm(const Options& options);

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

#endif  // SOTTO_WORKER_NN_RMS_NORM_H_
