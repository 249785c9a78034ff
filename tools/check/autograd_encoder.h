// The classifying encoder written once more, for the oracle: LibTorch's autograd, one example,
// float64. Shares no code with worker/.
#ifndef SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_
#define SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "common/layout/encoder_dimensions.h"
#include "tools/check/autograd_gradient.h"

namespace sotto::check {

// Loss of one record without padding; a label below 0 gives loss 0.
at::Tensor AutogradEncoderLoss(const layout::EncoderDimensions& dimensions,
                               const NamedTensors& named, const at::Tensor& tokens_T,
                               int64_t label);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_AUTOGRAD_ENCODER_H_
