#ifndef SOTTO_WORKER_NN_FLOAT32_H_
#define SOTTO_WORKER_NN_FLOAT32_H_

#include "ATen/core/Tensor.h"

namespace sotto::nn {

// The same values in contiguous float32: bfloat16 converts exactly, float32 is returned as it is.
// Norms and weight gradients are taken from these.
inline at::Tensor Float32(const at::Tensor& values) {
  return values.scalar_type() == at::kFloat ? values.contiguous()
                                            : values.to(at::kFloat).contiguous();
}

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_FLOAT32_H_
