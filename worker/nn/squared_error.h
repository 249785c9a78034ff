#ifndef SOTTO_WORKER_NN_SQUARED_ERROR_H_
#define SOTTO_WORKER_NN_SQUARED_ERROR_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// Mean over an example's K values of (output - target)^2, with its gradient. `outputs` and
// `targets` are float32, contiguous, of B examples with equally many elements each.
//
// Overwrites the outputs with the gradient of sum_b losses[b] and writes each example's loss to
// losses_B (float32). A dummy (id below 0) has loss 0 and gradient 0 whatever its values.
void SquaredErrorWithGradient(const at::Tensor& outputs, const at::Tensor& targets,
                              absl::Span<const int64_t> example_ids, const at::Tensor& losses_B);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_SQUARED_ERROR_H_
