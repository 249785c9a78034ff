// The classifying encoder written once more, for the oracle: LibTorch's autograd, one example,
// float64. Shares no code with worker/.
#ifndef SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_
#define SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/autograd_gpt2.h"

namespace sotto::check {

// Loss and gradient of one record without padding; a label below 0 gives loss 0.
equivalence::ExampleGradient AutogradEncoder(const layout::ModelDescription& description,
                                             const equivalence::UnitTensors& parameters,
                                             const at::Tensor& tokens_T, int64_t label);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_
