#include "worker/nn/rms_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/example_rows.h"
#include "worker/nn/float32.h"

namespace sotto::nn {
namespace {

// Rows a thread takes at a time.
constexpr int64_t kRowGrain = 16;

// Overwrites gain_BD (rows may be far apart) with each example's gradients; adds their squared
// norms to `norm_sq` where it is not null.
void WriteExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                       const at::Tensor& gain_BD, double* norm_sq) {
  const at::Tensor grads = Float32(output_grads);
  const at::Tensor inputs = Float32(saved.activations);
  const int64_t tokens = grads.size(1);
  const int64_t width = grads.size(2);
  const float* scales = saved.reciprocal_std_BT.const_data_ptr<float>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const absl::Span<float> gain = ExampleRow(gain_BD, b);
      std::fill(gain.begin(), gain.end(), 0.0f);
      for (int64_t row = b * tokens; row < (b + 1) * tokens; ++row) {
        const float* x = inputs.const_data_ptr<float>() + row * width;
        const float* g = grads.const_data_ptr<float>() + row * width;
        for (int64_t j = 0; j < width; ++j) gain[j] += x[j] * scales[row] * g[j];
      }
      if (norm_sq != nullptr) norm_sq[b] += kernels::SumOfSquares(gain);
    }
  });
}

}  // namespace

RmsNorm::RmsNorm(const Options& options)
    : Layer(options.frozen ? std::vector<int>() : std::vector<int>{options.gain}, options.index),
      options_(options) {}

at::Tensor RmsNorm::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                            SavedInput* saved) const {
  saved->activations = input;
  const at::Tensor inputs = Float32(input);
  const at::Tensor gains = Float32(parameters[options_.gain]);
  const at::Tensor output = at::empty_like(inputs);
  saved->reciprocal_std_BT = at::empty({input.size(0), input.size(1)}, inputs.options());
  const int64_t width = input.size(2);
  const float* gain = gains.const_data_ptr<float>();
  float* scales = saved->reciprocal_std_BT.data_ptr<float>();
  at::parallel_for(0, input.size(0) * input.size(1), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = inputs.const_data_ptr<float>() + row * width;
      float* y = output.data_ptr<float>() + row * width;
      const double square =
          kernels::SumOfSquares(absl::MakeConstSpan(x, static_cast<size_t>(width)));
      const float scale =
          static_cast<float>(1 / std::sqrt(square / static_cast<double>(width) + options_.epsilon));
      scales[row] = scale;
      for (int64_t j = 0; j < width; ++j) y[j] = x[j] * scale * gain[j];
    }
  });
  return output.to(input.scalar_type());
}

// With x^ = x r and u = g gain: r (u - x^ mean(u x^)).
at::Tensor RmsNorm::BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                  const at::Tensor& output_grads) const {
  const at::Tensor grads = Float32(output_grads);
  const at::Tensor inputs = Float32(saved.activations);
  const at::Tensor gains = Float32(parameters[options_.gain]);
  const at::Tensor input_grads = at::empty_like(grads);
  const int64_t width = grads.size(2);
  const float* gain = gains.const_data_ptr<float>();
  const float* scales = saved.reciprocal_std_BT.const_data_ptr<float>();
  at::parallel_for(0, grads.size(0) * grads.size(1), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = inputs.const_data_ptr<float>() + row * width;
      const float* g = grads.const_data_ptr<float>() + row * width;
      float* out = input_grads.data_ptr<float>() + row * width;
      double dot = 0;
      for (int64_t j = 0; j < width; ++j) dot += static_cast<double>(g[j] * gain[j]) * x[j];
      const double scale = scales[row];
      const float along = static_cast<float>(dot * scale * scale / static_cast<double>(width));
      for (int64_t j = 0; j < width; ++j) out[j] = scales[row] * (g[j] * gain[j] - x[j] * along);
    }
  });
  return input_grads.to(output_grads.scalar_type());
}

void RmsNorm::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm,
                               const at::Tensor& norm_sq_B) const {
  const at::Tensor rows = at::empty({output_grads.size(0), output_grads.size(2)},
                                    output_grads.options().dtype(at::kFloat));
  WriteExampleGrads(saved, output_grads, rows, norm_sq_B.data_ptr<double>());
}

void RmsNorm::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                         const at::Tensor& coefficients_B,
                         absl::Span<const at::Tensor> gradients) const {
  const at::Tensor rows = at::empty({output_grads.size(0), output_grads.size(2)},
                                    output_grads.options().dtype(at::kFloat));
  WriteExampleGrads(saved, output_grads, rows, /*norm_sq=*/nullptr);
  FoldRows(rows, coefficients_B, gradients[options_.gain]);
}

void RmsNorm::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                           absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  WriteExampleGrads(saved, output_grads, slabs[options_.gain], norm_sq_B.data_ptr<double>());
}

}  // namespace sotto::nn
