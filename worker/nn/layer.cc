#include "worker/nn/layer.h"

#include <algorithm>

#include "ATen/ops/where.h"
#include "ATen/ops/zeros.h"
#include "common/base/log.h"
#include "kernels/sum_of_squares.h"

namespace sotto::nn {
namespace {

template <typename Function>
SavedInput Transform(const SavedInput& saved, const Function& function) {
  SavedInput result = saved;
  for (at::Tensor* tensor :
       {&result.activations, &result.tokens_BT, &result.mean_BT, &result.reciprocal_std_BT,
        &result.head_activations_BTD, &result.head_grads}) {
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

namespace {

// Overwrites `gradients` (by position in the unit) with the gradient of example `b` and returns its
// squared norm.
double OwnGradient(const Layer& layer, const SavedInput& saved, const at::Tensor& output_grads,
                   int64_t b, absl::Span<const at::Tensor> gradients) {
  for (int parameter : layer.parameters()) at::Tensor(gradients[parameter]).zero_();
  layer.WeightGrad(SliceExamples(saved, b, 1), output_grads.narrow(0, b, 1), at::Tensor(),
                   gradients);
  double norm_sq = 0;
  for (int parameter : layer.parameters()) {
    const at::Tensor& gradient = gradients[parameter];
    norm_sq += kernels::SumOfSquares(absl::MakeConstSpan(gradient.const_data_ptr<float>(),
                                                         static_cast<size_t>(gradient.numel())));
  }
  return norm_sq;
}

size_t PositionsOf(absl::Span<const int> parameters) {
  int last = -1;
  for (int parameter : parameters) last = std::max(last, parameter);
  return static_cast<size_t>(last + 1);
}

}  // namespace

std::vector<std::vector<int64_t>> Layer::GradientShapes(const SavedInput&,
                                                        const at::Tensor&) const {
  SOTTO_CHECK(false) << "this layer's gradients are held as output gradients";
  return {};
}

void Layer::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm,
                             const at::Tensor& norm_sq_B) const {
  const std::vector<std::vector<int64_t>> shapes = GradientShapes(saved, output_grads);
  std::vector<at::Tensor> gradients(PositionsOf(parameters_));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    gradients[parameters_[i]] = at::zeros(shapes[i], output_grads.options().dtype(at::kFloat));
  }
  double* norm_sq = norm_sq_B.data_ptr<double>();
  for (int64_t b = 0; b < output_grads.size(0); ++b) {
    norm_sq[b] += OwnGradient(*this, saved, output_grads, b, gradients);
  }
}

at::Tensor Layer::BackwardInputWithNormSq(absl::Span<const at::Tensor> parameters,
                                          const SavedInput& saved, const at::Tensor& output_grads,
                                          NormForm form, const at::Tensor& norm_sq_B) const {
  if (norm_sq_B.defined()) AddExampleNormSq(saved, output_grads, form, norm_sq_B);
  return BackwardInput(parameters, saved, output_grads);
}

void Layer::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                         absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  const std::vector<std::vector<int64_t>> shapes = GradientShapes(saved, output_grads);
  double* norm_sq = norm_sq_B.data_ptr<double>();
  std::vector<at::Tensor> gradients(PositionsOf(parameters_));
  for (int64_t b = 0; b < output_grads.size(0); ++b) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      gradients[parameters_[i]] = slabs[parameters_[i]][b].view(shapes[i]);
    }
    norm_sq[b] += OwnGradient(*this, saved, output_grads, b, gradients);
  }
}

}  // namespace sotto::nn
