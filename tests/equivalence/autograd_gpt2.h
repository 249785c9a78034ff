// GPT-2 written once more, for tests: LibTorch's autograd, whole matrices, any dtype. Shares no
// code with worker/.
#ifndef SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_
#define SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/example_gradient.h"

namespace sotto::equivalence {

// Loss (LanguageLoss) and gradient of one example, in float64. Frozen parameters count for nothing;
// adapters (NAME.lora_A, NAME.lora_B) are added to the linear maps that have them.
ExampleGradient AutogradExample(const layout::ModelDescription& description,
                                const UnitTensors& parameters, const at::Tensor& tokens_T,
                                const at::Tensor& loss_mask_T, bool mean_loss);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_GPT2_H_
