// Adds scaled rows: the clipped sum of gradients that are held per example.
#ifndef SOTTO_KERNELS_FOLD_H_
#define SOTTO_KERNELS_FOLD_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels {

// out[i] += sum_b coefficients[b] * rows[b * row_stride + i] for i < out.size(), in ascending order
// of b. A row whose coefficient is 0 is never read, so NaN and infinity in it vanish.
void Fold(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
          absl::Span<float> out);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_FOLD_H_
