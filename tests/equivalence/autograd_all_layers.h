// The model of worker/models/testing written once more: LibTorch's autograd, float64, whole
// matrices, one example. Shares no code with worker/ but the names of the parameters.
#ifndef SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_
#define SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/example_gradient.h"

namespace sotto::equivalence {

// Loss (LanguageLoss) and gradient of one example, in float64. Frozen parameters count for nothing.
//
// With `rounding` u > 0, what a computation of unit roundoff u does: every weight, every result of
// an operation between layers and every gradient of one is multiplied by 1 + u x, x uniform in
// [-1, 1] and drawn anew for every element from torch's generator.
ExampleGradient AutogradAllLayers(const layout::ModelDescription& description,
                                  const UnitTensors& parameters, const at::Tensor& tokens_T,
                                  const at::Tensor& loss_mask_T, bool mean_loss,
                                  double rounding = 0);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_ALL_LAYERS_H_
