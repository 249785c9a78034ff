// Llama written once more, for the oracle: LibTorch's autograd, one example, float64. Shares no
// code with worker/.
#ifndef SOTTO_TOOLS_CHECK_AUTOGRAD_LLAMA_H_
#define SOTTO_TOOLS_CHECK_AUTOGRAD_LLAMA_H_

#include "ATen/core/Tensor.h"
#include "common/layout/llama_dimensions.h"
#include "tools/check/autograd_gradient.h"

namespace sotto::check {

// Logits [T, V] of one record. The dimensions' activation is SiLU.
at::Tensor AutogradLlamaLogits(const layout::LlamaDimensions& dimensions, const NamedTensors& named,
                               const at::Tensor& tokens_T);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_AUTOGRAD_LLAMA_H_
