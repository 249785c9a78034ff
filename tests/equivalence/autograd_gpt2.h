// GPT-2 written once more, for tests: LibTorch's autograd, whole matrices, any dtype. Shares no
// code with worker/.
#ifndef SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_
#define SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"

namespace sotto::equivalence {

// Per unit, per parameter.
using UnitTensors = std::vector<std::vector<at::Tensor>>;

struct ExampleGradient {
  double loss = 0;
  UnitTensors gradients;  // float64; zeros for frozen parameters
  double norm = 0;        // over all of them
};

// Loss and gradient of one example, in float64. `tokens_T` int64; position t scores the prediction
// of tokens_T[t] with weight loss_mask_T[t] (position 0 never); mean: divided by the sum of the
// weights, at least 1. Frozen parameters count for nothing; adapters (NAME.lora_A, NAME.lora_B) are
// added to the linear maps that have them.
ExampleGradient AutogradExample(const layout::ModelDescription& description,
                                const UnitTensors& parameters, const at::Tensor& tokens_T,
                                const at::Tensor& loss_mask_T, bool mean_loss);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_
