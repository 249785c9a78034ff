#include "worker/nn/layer_norm.h"

#include <algorithm>
#include <array>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/native_layer_norm.h"
#include "ATen/ops/native_layer_norm_backward.h"
#include "kernels/fold.h"
#include "kernels/layer_norm_gradient.h"
#include "kernels/sum_of_squares.h"

namespace sotto::nn {
namespace {

absl::Span<float> Row(const at::Tensor& rows_BD, int64_t b) {
  return absl::MakeSpan(rows_BD.data_ptr<float>() + b * rows_BD.stride(0),
                        static_cast<size_t>(rows_BD.size(1)));
}

// Overwrites gain_BD and bias_BD (rows may be far apart) with each example's gradients; adds their
// squared norms to `norm_sq` where it is not null.
void WriteExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                       const at::Tensor& gain_BD, const at::Tensor& bias_BD, double* norm_sq) {
  const at::Tensor grads = output_grads.contiguous();
  const int64_t tokens = grads.size(1);
  const int64_t width = grads.size(2);
  const float* input = saved.activations.const_data_ptr<float>();
  const float* mean = saved.mean_BT.const_data_ptr<float>();
  const float* reciprocal_std = saved.reciprocal_std_BT.const_data_ptr<float>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const absl::Span<float> gain = Row(gain_BD, b);
      const absl::Span<float> bias = Row(bias_BD, b);
      std::fill(gain.begin(), gain.end(), 0.0f);
      std::fill(bias.begin(), bias.end(), 0.0f);
      const auto row = [&](const float* statistics) {
        return absl::MakeConstSpan(statistics + b * tokens, static_cast<size_t>(tokens));
      };
      kernels::LayerNormGradient(input + b * tokens * width,
                                 grads.const_data_ptr<float>() + b * tokens * width, row(mean),
                                 row(reciprocal_std), gain, bias);
      if (norm_sq != nullptr) {
        norm_sq[b] += kernels::SumOfSquares(gain) + kernels::SumOfSquares(bias);
      }
    }
  });
}

}  // namespace

at::Tensor LayerNorm::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                              SavedInput* saved) const {
  saved->activations = input;
  auto [output, mean, reciprocal_std] =
      at::native_layer_norm(input, {input.size(2)}, parameters[options_.gain],
                            parameters[options_.bias], options_.epsilon);
  saved->mean_BT = mean.view({input.size(0), input.size(1)});
  saved->reciprocal_std_BT = reciprocal_std.view({input.size(0), input.size(1)});
  return output;
}

at::Tensor LayerNorm::BackwardInput(absl::Span<const at::Tensor> parameters,
                                    const SavedInput& saved, const at::Tensor& output_grads) const {
  const at::Tensor& input = saved.activations;
  const int64_t rows = input.size(0) * input.size(1);
  return std::get<0>(at::native_layer_norm_backward(
      output_grads, input, {input.size(2)}, saved.mean_BT.view({input.size(0), input.size(1), 1}),
      saved.reciprocal_std_BT.view({input.size(0), input.size(1), 1}), parameters[options_.gain],
      parameters[options_.bias], std::array<bool, 3>{rows > 0, false, false}));
}

void LayerNorm::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                 const at::Tensor& norm_sq_B) const {
  const at::Tensor rows =
      at::empty({2, output_grads.size(0), output_grads.size(2)}, output_grads.options());
  WriteExampleGrads(saved, output_grads, rows[0], rows[1], norm_sq_B.data_ptr<double>());
}

void LayerNorm::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                           const at::Tensor& coefficients_B,
                           absl::Span<const at::Tensor> gradients) const {
  const int64_t examples = output_grads.size(0);
  const int64_t width = output_grads.size(2);
  const at::Tensor rows = at::empty({2, examples, width}, output_grads.options());
  WriteExampleGrads(saved, output_grads, rows[0], rows[1], /*norm_sq=*/nullptr);
  std::vector<float> factors(static_cast<size_t>(examples), 1.0f);
  if (coefficients_B.defined()) {
    std::copy_n(coefficients_B.const_data_ptr<float>(), examples, factors.begin());
  }
  const int targets[] = {options_.gain, options_.bias};
  for (int k = 0; k < 2; ++k) {
    kernels::Fold(
        rows[k].const_data_ptr<float>(), width, factors,
        absl::MakeSpan(gradients[targets[k]].data_ptr<float>(), static_cast<size_t>(width)));
  }
}

void LayerNorm::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                             absl::Span<const at::Tensor> slabs,
                             const at::Tensor& norm_sq_B) const {
  WriteExampleGrads(saved, output_grads, slabs[options_.gain], slabs[options_.bias],
                    norm_sq_B.data_ptr<double>());
}

}  // namespace sotto::nn
