// Squared L2 norms.
#ifndef SOTTO_KERNELS_SUM_OF_SQUARES_H_
#define SOTTO_KERNELS_SUM_OF_SQUARES_H_

#include "absl/types/span.h"

namespace sotto::kernels {

// Elements summed in float32 before float64 takes over.
inline constexpr int kSquareBlock = 4096;

// sum_i values[i]^2: float32 within blocks of kSquareBlock, float64 beyond. Infinite when a block
// overflows float32, NaN when a value is NaN; the order of additions depends on nothing but the
// size and the instruction set.
double SumOfSquares(absl::Span<const float> values);

// The same in float64 throughout: finite for all finite values.
double SumOfSquares64(absl::Span<const float> values);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_SUM_OF_SQUARES_H_
