#include "kernels/fold.h"

#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/reference/vector_kernels.h"

namespace sotto::kernels {

void Fold(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
          absl::Span<float> out) {
  if (cpu::HasAvx2()) return cpu::FoldAvx2(rows, row_stride, coefficients, out);
  return reference::Fold(rows, row_stride, coefficients, out);
}

}  // namespace sotto::kernels
