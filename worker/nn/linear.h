#ifndef SOTTO_WORKER_NN_LINEAR_H_
#define SOTTO_WORKER_NN_LINEAR_H_

#include "worker/nn/layer.h"

namespace sotto::nn {

// y = x W + b over the last dimension. Inputs and outputs are [B, T, *], contiguous. A layer with
// one row per example (modulation, a head on pooled values) has T = 1; its norm is |a|^2 |g|^2.
// Only a trainable weight keeps the input.
class Linear final : public Layer {
 public:
  enum class WeightLayout {
    kInputOutput,  // W is [I, O], GPT-2's Conv1D
    kOutputInput,  // W is [O, I], the head's
  };
  static constexpr int kNoBias = -1;

  struct Options {
    int weight = 0;  // positions in the unit's parameter list
    int bias = kNoBias;
    WeightLayout weight_layout = WeightLayout::kInputOutput;
    bool weight_frozen = false;
    bool bias_frozen = false;
    int index = 0;  // in UnitDescription::layers
  };

  explicit Linear(const Options& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  at::Tensor BackwardInputWithNormSq(absl::Span<const at::Tensor> parameters,
                                     const SavedInput& saved, const at::Tensor& output_grads,
                                     NormForm form, const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                    absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const override;

 private:
  bool has_bias() const { return options_.bias != kNoBias; }
  bool trains_weight() const { return !options_.weight_frozen; }
  bool trains_bias() const { return has_bias() && !options_.bias_frozen; }
  bool output_first() const { return options_.weight_layout == WeightLayout::kOutputInput; }

  const Options options_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LINEAR_H_
