#include "worker/nn/layer.h"

#include "ATen/ops/where.h"
#include "common/base/log.h"

namespace sotto::nn {
namespace {

template <typename Function>
SavedInput Transform(const SavedInput& saved, const Function& function) {
  SavedInput result = saved;
  for (at::Tensor* tensor :
       {&result.activations, &result.tokens_BT, &result.mean_BT, &result.reciprocal_std_BT,
        &result.head_activations_BTD, &result.head_grads_BTT}) {
    if (tensor->defined()) *tensor = function(*tensor);
  }
  return result;
}

}  // namespace

at::Tensor SelectExamples(const at::Tensor& values, const at::Tensor& keep_B) {
  std::vector<int64_t> shape(values.dim(), 1);
  shape[0] = keep_B.size(0);
  return at::where(keep_B.view(shape), values, at::Scalar(0.0f));
}

SavedInput SelectExamples(const SavedInput& saved, const at::Tensor& keep_B) {
  return Transform(saved, [&](const at::Tensor& tensor) {
    return tensor.is_floating_point() ? SelectExamples(tensor, keep_B) : tensor;
  });
}

SavedInput SliceExamples(const SavedInput& saved, int64_t begin, int64_t count) {
  SavedInput result =
      Transform(saved, [&](const at::Tensor& tensor) { return tensor.narrow(0, begin, count); });
  result.first_example += begin;
  return result;
}

void Layer::ExampleGrads(const SavedInput&, const at::Tensor&, absl::Span<const at::Tensor>,
                         const at::Tensor&) const {
  SOTTO_CHECK(false) << "this layer's gradients are held as output gradients";
}

}  // namespace sotto::nn
