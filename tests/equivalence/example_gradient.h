// One example's gradient by LibTorch's autograd, for models that are written once more to check
// worker/: what is the same whatever the model.
#ifndef SOTTO_TESTS_EQUIVALENCE_EXAMPLE_GRADIENT_H_
#define SOTTO_TESTS_EQUIVALENCE_EXAMPLE_GRADIENT_H_

#include <cstddef>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "common/layout/model_description.h"

namespace sotto::equivalence {

// Per unit, per parameter.
using UnitTensors = std::vector<std::vector<at::Tensor>>;

struct ExampleGradient {
  double loss = 0;
  UnitTensors gradients;  // float64; zeros for frozen parameters
  double norm = 0;        // over all of them
};

// The gradient of `loss`, a float64 scalar, in `leaves`: the trainable parameters in canonical
// order. Parameters on which the loss does not depend have gradient zero.
ExampleGradient GradientOf(const layout::ModelDescription& description, const at::Tensor& loss,
                           const std::vector<at::Tensor>& leaves);

// A record's loss under a language model's logits [T, V]. Position t scores the prediction of
// tokens_T[t] (int64) with weight loss_mask_T[t], position 0 never. Mean: divided by the sum of the
// weights, at least 1. Without a scored token it is 0, whatever the logits are.
at::Tensor LanguageLoss(const at::Tensor& logits_TV, const at::Tensor& tokens_T,
                        const at::Tensor& loss_mask_T, bool is_mean);

// By what an example's gradient of a unit is multiplied.
using FactorOf = absl::FunctionRef<double(const ExampleGradient& example, size_t unit)>;

// The sum over `examples`, of which there is one at least, in float64.
UnitTensors ScaledSum(const std::vector<ExampleGradient>& examples, FactorOf factor);

// Each example clipped to `clip_norm`; infinite: not clipped.
UnitTensors ClippedSum(const std::vector<ExampleGradient>& examples, double clip_norm);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_EXAMPLE_GRADIENT_H_
