// Stores that bypass the caches, with the squared norm of what was stored.
#ifndef SOTTO_KERNELS_STREAM_WITH_NORM_H_
#define SOTTO_KERNELS_STREAM_WITH_NORM_H_

#include "absl/types/span.h"

namespace sotto::kernels {

// Copies `values` to `out` and returns SumOfSquares(values), the same bits. For values that are in
// cache and a destination that is not read again soon: the destination is not fetched first and
// does not displace what is in cache (32-byte aligned destinations; others are stored as usual).
double StreamWithNorm(absl::Span<const float> values, float* out);

// Orders what this thread streamed before its later stores: call it before another thread may look.
void FinishStreaming();

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_STREAM_WITH_NORM_H_
