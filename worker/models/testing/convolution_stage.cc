#include "worker/models/testing/convolution_stage.h"

#include "ATen/ops/constant_pad_nd.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/testing/all_layers_description.h"
#include "worker/models/unit_layers.h"
#include "worker/nn/activation.h"

namespace sotto::models {
namespace {

constexpr int64_t kWidth = AllLayersOptions::kWidth;
// Rows that a convolution forms beyond the last token.
constexpr int64_t kAhead = 2;

nn::Conv2d::Options SpreadOptions(const layout::UnitDescription& unit) {
  const int weight = ParameterFinder(unit).Optional("spread.weight");
  return {.weight = weight,
          .bias = weight + 1,
          .kernel = {3, 3},
          .stride = {1, 2},
          .padding = {kAhead, 1},
          .weight_frozen = IsFrozen(unit, weight),
          .bias_frozen = IsFrozen(unit, weight + 1),
          .index = LayerIndex(unit, weight)};
}

nn::Conv2d::Options MixOptions(const layout::UnitDescription& unit) {
  const int weight = ParameterFinder(unit).Optional("mix.weight");
  return {.weight = weight,
          .kernel = {3, 1},
          .padding = {kAhead, 0},
          .groups = 2,
          .weight_frozen = IsFrozen(unit, weight),
          .index = LayerIndex(unit, weight)};
}

// [B, T, channels * columns] -> [B, channels, T, columns].
at::Tensor Image(const at::Tensor& values_BTD, int64_t channels) {
  return values_BTD.view({values_BTD.size(0), values_BTD.size(1), channels, kWidth / channels})
      .transpose(1, 2)
      .contiguous();
}

at::Tensor Rows(const at::Tensor& image) {
  return image.transpose(1, 2).reshape({image.size(0), image.size(2), kWidth});
}

at::Tensor Cut(const at::Tensor& image, int64_t tokens) {
  return image.narrow(2, 0, tokens).contiguous();
}

// The transpose of Cut.
at::Tensor Uncut(const at::Tensor& grads) {
  return at::constant_pad_nd(grads, {0, 0, 0, kAhead}, 0);
}

}  // namespace

ConvolutionStage::ConvolutionStage(int unit, const layout::UnitDescription& description)
    : unit_(unit),
      again_(
          EmbeddingOptionsOf(description, ParameterFinder(description).Optional("again.weight"))),
      spread_(SpreadOptions(description)),
      mix_(MixOptions(description)) {}

at::Tensor ConvolutionStage::Forward(absl::Span<const at::Tensor> parameters,
                                     const MicroBatch& batch, const at::Tensor& input) {
  const int64_t tokens = input.size(1);
  const at::Tensor sum = again_.Forward(parameters, batch.tokens_BT, &kept_.again).add_(input);
  kept_.spread_output = Cut(
      spread_.Forward(parameters, Image(sum, AllLayersOptions::kChannels), &kept_.spread), tokens);
  const at::Tensor mixed = mix_.Forward(
      parameters, nn::Activate(nn::ActivationKind::kSilu, kept_.spread_output), &kept_.mix);
  return Rows(Cut(mixed, tokens)).add(sum);
}

at::Tensor ConvolutionStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                      const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor mixed_grads = Uncut(Image(output_grads, 2 * AllLayersOptions::kChannels));
  at::Tensor hidden_grads = nn::BackwardThrough(mix_, parameters, kept_.mix, mixed_grads, sink);
  nn::ActivateBackwardInPlace(nn::ActivationKind::kSilu, kept_.spread_output, hidden_grads);
  const at::Tensor image_grads =
      nn::BackwardThrough(spread_, parameters, kept_.spread, Uncut(hidden_grads), sink);
  const at::Tensor sum_grads = Rows(image_grads).add(output_grads);
  nn::BackwardThrough(again_, parameters, kept_.again, sum_grads, sink);
  return sum_grads;
}

}  // namespace sotto::models
