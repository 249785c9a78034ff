#include "kernels/softmax_gradient.h"

#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/reference/vector_kernels.h"

namespace sotto::kernels {

float SoftmaxGradient(absl::Span<float> logits, int64_t target, float weight) {
  if (cpu::HasAvx2()) return cpu::SoftmaxGradientAvx2(logits, target, weight);
  return reference::SoftmaxGradient(logits, target, weight);
}

}  // namespace sotto::kernels
