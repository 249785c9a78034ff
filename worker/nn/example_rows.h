#ifndef SOTTO_WORKER_NN_EXAMPLE_ROWS_H_
#define SOTTO_WORKER_NN_EXAMPLE_ROWS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// Gradients of one parameter by example: float32 [B, elements], rows possibly far apart.

// Row `b`.
absl::Span<float> ExampleRow(const at::Tensor& rows_BE, int64_t b);

// Adds sum_b c_b rows[b] to `gradient`, the elements as the rows have them. Undefined coefficients
// mean ones; a row whose coefficient is 0 is never read.
void FoldRows(const at::Tensor& rows_BE, const at::Tensor& coefficients_B,
              const at::Tensor& gradient);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_EXAMPLE_ROWS_H_
