#ifndef SOTTO_WORKER_NN_NORMALISE_H_
#define SOTTO_WORKER_NN_NORMALISE_H_

#include "ATen/core/Tensor.h"

namespace sotto::nn {

// LayerNorm over the last dimension without gain and bias: no parameters.
struct NormaliseSaved {
  at::Tensor input, mean, reciprocal_std;
};

at::Tensor Normalise(const at::Tensor& input, double epsilon, NormaliseSaved* saved);

// The gradient of the input.
at::Tensor NormaliseBackward(const NormaliseSaved& saved, const at::Tensor& output_grads);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_NORMALISE_H_
