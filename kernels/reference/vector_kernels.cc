#include "kernels/reference/vector_kernels.h"

#include <algorithm>
#include <cmath>

#include "kernels/sum_of_squares.h"

namespace sotto::kernels::reference {

double SumOfSquares(absl::Span<const float> values) {
  double total = 0;
  for (size_t begin = 0; begin < values.size(); begin += kSquareBlock) {
    float block = 0;
    for (float value : values.subspan(begin, kSquareBlock)) block += value * value;
    total += block;
  }
  return total;
}

double SumOfSquares64(absl::Span<const float> values) {
  double total = 0;
  for (float value : values) total += static_cast<double>(value) * value;
  return total;
}

void Fold(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
          absl::Span<float> out) {
  for (size_t b = 0; b < coefficients.size(); ++b) {
    if (coefficients[b] == 0) continue;
    const float* row = rows + static_cast<int64_t>(b) * row_stride;
    for (size_t i = 0; i < out.size(); ++i) out[i] += coefficients[b] * row[i];
  }
}

float SoftmaxGradient(absl::Span<float> logits, int64_t target, float weight) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  const float target_logit = logits[target];
  double sum = 0;
  for (float& logit : logits) {
    logit = std::exp(logit - highest);
    sum += logit;
  }
  const float scale = static_cast<float>(weight / sum);
  for (float& logit : logits) logit *= scale;
  logits[target] -= weight;
  return static_cast<float>(std::log(sum)) + (highest - target_logit);
}

void LayerNormGradient(const float* input, const float* output_grads, absl::Span<const float> mean,
                       absl::Span<const float> reciprocal_std, absl::Span<float> gain_grad,
                       absl::Span<float> bias_grad) {
  const size_t width = gain_grad.size();
  for (size_t t = 0; t < mean.size(); ++t) {
    for (size_t j = 0; j < width; ++j) {
      const float grad = output_grads[t * width + j];
      gain_grad[j] += (input[t * width + j] - mean[t]) * reciprocal_std[t] * grad;
      bias_grad[j] += grad;
    }
  }
}

}  // namespace sotto::kernels::reference
