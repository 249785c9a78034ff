#ifndef SOTTO_WORKER_NN_CONV2D_H_
#define SOTTO_WORKER_NN_CONV2D_H_

#include <array>
#include <cstdint>

#include "worker/nn/layer.h"

namespace sotto::nn {

// Convolution of [B, C, H, W], contiguous, with zero padding: y [B, O, H', W']. oneDNN's copies of
// operands, whose size is its choice for the CPU, are of few examples at a time. Its norm rule is
// the linear layer's over patches: an example's gradient is sum_positions gy[position]
// patch[position]^T, group by group. Patches of one example at a time are materialised.
class Conv2d final : public Layer {
 public:
  static constexpr int kNoBias = -1;

  struct Options {
    int weight = 0;  // position in the unit's parameter list; [O, C / groups, kernel height, width]
    int bias = kNoBias;
    std::array<int64_t, 2> kernel = {1, 1};  // height, width, here and below
    std::array<int64_t, 2> stride = {1, 1};
    std::array<int64_t, 2> padding = {0, 0};
    int64_t groups = 1;
    bool weight_frozen = false;
    bool bias_frozen = false;
    int index = 0;  // in UnitDescription::layers
  };

  explicit Conv2d(const Options& options);

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
  // Calls `use(begin, count)` for ranges of examples, of which one at a time is in oneDNN's hands.
  template <typename Use>
  void ForEachPass(const at::Tensor& input, const at::Tensor& output, int64_t weight_elements,
                   const Use& use) const;

  bool trains_weight() const { return !options_.weight_frozen; }
  bool trains_bias() const { return options_.bias != kNoBias && !options_.bias_frozen; }

  // Calls `use(group, grads, patches)` for one example and every group: contiguous output gradients
  // [1, positions, O / groups] and patches [1, positions, C / groups * kernel].
  template <typename Use>
  void ForEachGroup(const at::Tensor& input_CHW, const at::Tensor& grads_OHW, const Use& use) const;

  const Options options_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_CONV2D_H_
