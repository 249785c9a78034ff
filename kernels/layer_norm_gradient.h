// Gradients of LayerNorm's gain and bias for one example.
#ifndef SOTTO_KERNELS_LAYER_NORM_GRADIENT_H_
#define SOTTO_KERNELS_LAYER_NORM_GRADIENT_H_

#include "absl/types/span.h"

namespace sotto::kernels {

// gain_grad[j] += sum_t (input[t, j] - mean[t]) * reciprocal_std[t] * output_grads[t, j];
// bias_grad[j] += sum_t output_grads[t, j]. Row-major, mean.size() rows of gain_grad.size()
// columns; ascending t.
void LayerNormGradient(const float* input, const float* output_grads, absl::Span<const float> mean,
                       absl::Span<const float> reciprocal_std, absl::Span<float> gain_grad,
                       absl::Span<float> bias_grad);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_LAYER_NORM_GRADIENT_H_
