// AVX2 and FMA versions; call only where HasAvx2().
#ifndef SOTTO_KERNELS_CPU_VECTOR_KERNELS_AVX2_H_
#define SOTTO_KERNELS_CPU_VECTOR_KERNELS_AVX2_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels::cpu {

// True where this machine has the instructions.
bool HasAvx2();

// Contracts: kernels/<name>.h.
double SumOfSquaresAvx2(absl::Span<const float> values);
double SumOfSquares64Avx2(absl::Span<const float> values);
double StreamWithNormAvx2(absl::Span<const float> values, float* out);
void FinishStreamingAvx2();
void FoldAvx2(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
              absl::Span<float> out);
float SoftmaxGradientAvx2(absl::Span<float> logits, int64_t target, float weight);
void LayerNormGradientAvx2(const float* input, const float* output_grads,
                           absl::Span<const float> mean, absl::Span<const float> reciprocal_std,
                           absl::Span<float> gain_grad, absl::Span<float> bias_grad);

}  // namespace sotto::kernels::cpu

#endif  // SOTTO_KERNELS_CPU_VECTOR_KERNELS_AVX2_H_
