#include "worker/dp/gradient_sinks.h"

namespace sotto::dp {

void NormSink::Visit(const nn::Layer& layer, const nn::SavedInput& saved,
                     const at::Tensor& output_grads) {
  layer.AddExampleNormSq(saved, output_grads,
                         norm_sq_B_.narrow(0, saved.first_example, output_grads.size(0)));
}

void HoldSink::Visit(const nn::Layer& layer, const nn::SavedInput& saved,
                     const at::Tensor& output_grads) {
  held_.Hold(unit_, layer, saved, output_grads, norm_sq_B_);
}

void WeightGradSink::Visit(const nn::Layer& layer, const nn::SavedInput& saved,
                           const at::Tensor& output_grads) {
  if (coefficients_ == nullptr) {
    layer.WeightGrad(saved, output_grads, at::Tensor(), gradients_);
    return;
  }
  const int64_t count = output_grads.size(0);
  const at::Tensor factors = coefficients_->values_B.narrow(0, saved.first_example, count);
  if (coefficients_->all_kept) {
    layer.WeightGrad(saved, output_grads, factors, gradients_);
    return;
  }
  const at::Tensor keep = coefficients_->keep_B.narrow(0, saved.first_example, count);
  layer.WeightGrad(nn::SelectExamples(saved, keep), nn::SelectExamples(output_grads, keep), factors,
                   gradients_);
}

}  // namespace sotto::dp
