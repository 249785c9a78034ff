#include "kernels/stream_with_norm.h"

#include <algorithm>

#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/reference/vector_kernels.h"

namespace sotto::kernels {

double StreamWithNorm(absl::Span<const float> values, float* out) {
  if (cpu::HasAvx2()) return cpu::StreamWithNormAvx2(values, out);
  std::copy(values.begin(), values.end(), out);
  return reference::SumOfSquares(values);
}

void FinishStreaming() {
  if (cpu::HasAvx2()) cpu::FinishStreamingAvx2();
}

}  // namespace sotto::kernels
