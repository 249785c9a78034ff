#include "kernels/layer_norm_gradient.h"

#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/reference/vector_kernels.h"

namespace sotto::kernels {

void LayerNormGradient(const float* input, const float* output_grads, absl::Span<const float> mean,
                       absl::Span<const float> reciprocal_std, absl::Span<float> gain_grad,
                       absl::Span<float> bias_grad) {
  if (cpu::HasAvx2())
    return cpu::LayerNormGradientAvx2(input, output_grads, mean, reciprocal_std, gain_grad,
                                      bias_grad);
  return reference::LayerNormGradient(input, output_grads, mean, reciprocal_std, gain_grad,
                                      bias_grad);
}

}  // namespace sotto::kernels
