#include "worker/models/cnn_stage.h"

#include "worker/nn/activation.h"

namespace sotto::models {
namespace {

constexpr nn::ActivationKind kActivation = nn::ActivationKind::kRelu;

}  // namespace

CnnStage::CnnStage(const Options& options)
    : unit_(options.unit),
      conv_1_(options.conv_1),
      norm_1_(options.norm_1),
      conv_2_(options.conv_2),
      norm_2_(options.norm_2) {}

at::Tensor CnnStage::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                             const at::Tensor& input) {
  kept_.norm_1_output =
      norm_1_.Forward(parameters, conv_1_.Forward(parameters, input, &kept_.conv_1), &kept_.norm_1);
  const at::Tensor hidden = nn::Activate(kActivation, kept_.norm_1_output);
  kept_.norm_2_output = norm_2_.Forward(
      parameters, conv_2_.Forward(parameters, hidden, &kept_.conv_2), &kept_.norm_2);
  return nn::Activate(kActivation, kept_.norm_2_output).add_(hidden);
}

at::Tensor CnnStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                              const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor norm_2_grads =
      nn::ActivateBackward(kActivation, kept_.norm_2_output, output_grads);
  const at::Tensor conv_2_grads =
      nn::BackwardThrough(norm_2_, parameters, kept_.norm_2, norm_2_grads, sink);
  const at::Tensor hidden_grads =
      nn::BackwardThrough(conv_2_, parameters, kept_.conv_2, conv_2_grads, sink).add(output_grads);
  const at::Tensor norm_1_grads =
      nn::ActivateBackward(kActivation, kept_.norm_1_output, hidden_grads);
  const at::Tensor conv_1_grads =
      nn::BackwardThrough(norm_1_, parameters, kept_.norm_1, norm_1_grads, sink);
  return nn::BackwardThrough(conv_1_, parameters, kept_.conv_1, conv_1_grads, sink);
}

}  // namespace sotto::models
