// The models of images and vectors written once more, for tests: LibTorch's autograd, one example,
// float64. Shares no code with worker/.
#ifndef SOTTO_TESTS_MODELS_AUTOGRAD_IMAGES_H_
#define SOTTO_TESTS_MODELS_AUTOGRAD_IMAGES_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "common/layout/model_description.h"
#include "tools/check/autograd_gradient.h"

namespace sotto::equivalence {

// One example; what its model does not take is left undefined.
struct ImageExample {
  at::Tensor values_CHW;
  int64_t label = 0;
  at::Tensor targets_K;
  at::Tensor noise_CHW;
  int64_t time_step = 0;
};

// Loss of an MLP, CNN, ViT or DiT.
at::Tensor AutogradImageLoss(const layout::ModelDescription& description,
                             const check::NamedTensors& named, const ImageExample& example);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_MODELS_AUTOGRAD_IMAGES_H_
