#ifndef SOTTO_WORKER_NN_GROUP_NORM_H_
#define SOTTO_WORKER_NN_GROUP_NORM_H_

#include <cstdint>

#include "worker/nn/layer.h"

namespace sotto::nn {

// GroupNorm over [B, C, H, W], contiguous, with gain and bias [C]: statistics over each example's
// groups of C / groups channels. Has no norm rule: the norm is taken from each example's own
// gradient.
class GroupNorm final : public Layer {
 public:
  struct Options {
    int gain = 0;  // positions in the unit's parameter list
    int bias = 1;
    int64_t groups = 1;
    double epsilon = 1e-5;
    bool gain_frozen = false;
    bool bias_frozen = false;
    int index = 0;  // in UnitDescription::layers
  };

  explicit GroupNorm(const Options& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;

 protected:
  std::vector<std::vector<int64_t>> GradientShapes(const SavedInput& saved,
                                                   const at::Tensor& output_grads) const override;

 private:
  const Options options_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_GROUP_NORM_H_
