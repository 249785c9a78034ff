#include "worker/nn/layer_norm.h"

#include <algorithm>
#include <array>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/native_layer_norm.h"
#include "ATen/ops/native_layer_norm_backward.h"
#include "kernels/layer_norm_gradient.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/example_rows.h"
#include "worker/nn/float32.h"

namespace sotto::nn {
namespace {

// Where an example's gradients of gain and bias go: rows of width D, possibly far apart.
struct Rows {
  at::Tensor gain_BD;
  at::Tensor bias_BD;
};

Rows NewRows(const at::Tensor& output_grads) {
  const at::Tensor rows = at::empty({2, output_grads.size(0), output_grads.size(2)},
                                    output_grads.options().dtype(at::kFloat));
  return {.gain_BD = rows[0], .bias_BD = rows[1]};
}

// Overwrites `rows` with each example's gradients; adds the squared norms of the trained ones to
// `norm_sq` where it is not null.
void WriteExampleGrads(const LayerNorm::Options& options, const SavedInput& saved,
                       const at::Tensor& output_grads, const Rows& rows, double* norm_sq) {
  const at::Tensor grads = Float32(output_grads);
  const at::Tensor inputs = Float32(saved.activations);
  const int64_t tokens = grads.size(1);
  const int64_t width = grads.size(2);
  const float* mean = saved.mean_BT.const_data_ptr<float>();
  const float* reciprocal_std = saved.reciprocal_std_BT.const_data_ptr<float>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const absl::Span<float> gain = ExampleRow(rows.gain_BD, b);
      const absl::Span<float> bias = ExampleRow(rows.bias_BD, b);
      std::fill(gain.begin(), gain.end(), 0.0f);
      std::fill(bias.begin(), bias.end(), 0.0f);
      const auto row = [&](const float* statistics) {
        return absl::MakeConstSpan(statistics + b * tokens, static_cast<size_t>(tokens));
      };
      kernels::LayerNormGradient(inputs.const_data_ptr<float>() + b * tokens * width,
                                 grads.const_data_ptr<float>() + b * tokens * width, row(mean),
                                 row(reciprocal_std), gain, bias);
      if (norm_sq == nullptr) continue;
      if (!options.gain_frozen) norm_sq[b] += kernels::SumOfSquares(gain);
      if (!options.bias_frozen) norm_sq[b] += kernels::SumOfSquares(bias);
    }
  });
}

std::vector<int> ParametersOf(const LayerNorm::Options& options) {
  std::vector<int> parameters;
  if (!options.gain_frozen) parameters.push_back(options.gain);
  if (!options.bias_frozen) parameters.push_back(options.bias);
  return parameters;
}

}  // namespace

LayerNorm::LayerNorm(const Options& options)
    : Layer(ParametersOf(options), options.index), options_(options) {}

at::Tensor LayerNorm::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                              SavedInput* saved) const {
  saved->activations = input;
  auto [output, mean, reciprocal_std] =
      at::native_layer_norm(Float32(input), {input.size(2)}, Float32(parameters[options_.gain]),
                            Float32(parameters[options_.bias]), options_.epsilon);
  saved->mean_BT = mean.view({input.size(0), input.size(1)});
  saved->reciprocal_std_BT = reciprocal_std.view({input.size(0), input.size(1)});
  return output.to(input.scalar_type());
}

at::Tensor LayerNorm::BackwardInput(absl::Span<const at::Tensor> parameters,
                                    const SavedInput& saved, const at::Tensor& output_grads) const {
  const at::Tensor& input = saved.activations;
  const int64_t rows = input.size(0) * input.size(1);
  return std::get<0>(at::native_layer_norm_backward(
                         Float32(output_grads), Float32(input), {input.size(2)},
                         saved.mean_BT.view({input.size(0), input.size(1), 1}),
                         saved.reciprocal_std_BT.view({input.size(0), input.size(1), 1}),
                         Float32(parameters[options_.gain]), Float32(parameters[options_.bias]),
                         std::array<bool, 3>{rows > 0, false, false}))
      .to(input.scalar_type());
}

void LayerNorm::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm,
                                 const at::Tensor& norm_sq_B) const {
  WriteExampleGrads(options_, saved, output_grads, NewRows(output_grads),
                    norm_sq_B.data_ptr<double>());
}

void LayerNorm::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                           const at::Tensor& coefficients_B,
                           absl::Span<const at::Tensor> gradients) const {
  const Rows rows = NewRows(output_grads);
  WriteExampleGrads(options_, saved, output_grads, rows, /*norm_sq=*/nullptr);
  if (!options_.gain_frozen) FoldRows(rows.gain_BD, coefficients_B, gradients[options_.gain]);
  if (!options_.bias_frozen) FoldRows(rows.bias_BD, coefficients_B, gradients[options_.bias]);
}

void LayerNorm::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                             absl::Span<const at::Tensor> slabs,
                             const at::Tensor& norm_sq_B) const {
  Rows rows = NewRows(output_grads);
  if (!options_.gain_frozen) rows.gain_BD = slabs[options_.gain];
  if (!options_.bias_frozen) rows.bias_BD = slabs[options_.bias];
  WriteExampleGrads(options_, saved, output_grads, rows, norm_sq_B.data_ptr<double>());
}

}  // namespace sotto::nn
