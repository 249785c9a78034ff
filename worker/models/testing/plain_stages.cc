#include "worker/models/testing/plain_stages.h"

#include "worker/models/testing/all_layers_description.h"
#include "worker/models/unit_layers.h"
#include "worker/nn/activation.h"

namespace sotto::models {

ResidualLinearStage::ResidualLinearStage(int unit, const layout::UnitDescription& description)
    : unit_(unit),
      linear_({.weight = 0,
               .weight_layout = nn::Linear::WeightLayout::kOutputInput,
               .weight_frozen = IsFrozen(description, 0)}) {}

at::Tensor ResidualLinearStage::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                        const at::Tensor& input) {
  output_ = linear_.Forward(parameters, input, &kept_);
  return nn::Activate(nn::ActivationKind::kSilu, output_).add_(input);
}

at::Tensor ResidualLinearStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                         const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor grads = nn::ActivateBackward(nn::ActivationKind::kSilu, output_, output_grads);
  return nn::BackwardThrough(linear_, parameters, kept_, grads, sink).add(output_grads);
}

void ResidualLinearStage::Release() {
  kept_ = {};
  output_.reset();
}

ScaleStage::ScaleStage(int unit, const layout::UnitDescription& description)
    : unit_(unit),
      norm_(
          {.gain = 0, .epsilon = AllLayersOptions::kEpsilon, .frozen = IsFrozen(description, 0)}) {}

at::Tensor ScaleStage::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                               const at::Tensor& input) {
  return norm_.Forward(parameters, input, &kept_);
}

at::Tensor ScaleStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                const at::Tensor& output_grads, nn::GradientSink& sink) {
  return nn::BackwardThrough(norm_, parameters, kept_, output_grads, sink);
}

}  // namespace sotto::models
