// The model of worker/models/testing written once more: LibTorch's autograd, float64, whole
// matrices, one example. Shares no code with worker/ but the names of the parameters.
#ifndef SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_
#define SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/autograd_gpt2.h"

namespace sotto::equivalence {

// As AutogradExample. Gradients of frozen parameters are undefined tensors and count for nothing.
ExampleGradient AutogradAllLayers(const layout::ModelDescription& description,
                                  const UnitTensors& parameters, const at::Tensor& tokens_T,
                                  const at::Tensor& loss_mask_T, bool mean_loss);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_
