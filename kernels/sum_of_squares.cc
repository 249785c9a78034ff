#include "kernels/sum_of_squares.h"

#include "kernels/cpu/vector_kernels_avx2.h"
#include "kernels/reference/vector_kernels.h"

namespace sotto::kernels {

double SumOfSquares(absl::Span<const float> values) {
  if (cpu::HasAvx2()) return cpu::SumOfSquaresAvx2(values);
  return reference::SumOfSquares(values);
}

double SumOfSquares64(absl::Span<const float> values) {
  if (cpu::HasAvx2()) return cpu::SumOfSquares64Avx2(values);
  return reference::SumOfSquares64(values);
}

}  // namespace sotto::kernels
