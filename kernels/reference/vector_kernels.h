// Plain loops: what the fast kernels are compared with, and what runs where a CPU lacks their
// instructions.
#ifndef SOTTO_KERNELS_REFERENCE_VECTOR_KERNELS_H_
#define SOTTO_KERNELS_REFERENCE_VECTOR_KERNELS_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels::reference {

// Contracts: kernels/<name>.h.
double SumOfSquares(absl::Span<const float> values);
double SumOfSquares64(absl::Span<const float> values);
void Fold(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
          absl::Span<float> out);
float SoftmaxGradient(absl::Span<float> logits, int64_t target, float weight);
void LayerNormGradient(const float* input, const float* output_grads, absl::Span<const float> mean,
                       absl::Span<const float> reciprocal_std, absl::Span<float> gain_grad,
                       absl::Span<float> bias_grad);

}  // namespace sotto::kernels::reference

#endif  // SOTTO_KERNELS_REFERENCE_VECTOR_KERNELS_H_
