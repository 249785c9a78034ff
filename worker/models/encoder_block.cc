#include "worker/models/encoder_block.h"

#include "ATen/ops/cat.h"
#include "worker/nn/activation.h"

namespace sotto::models {
namespace {

constexpr nn::ActivationKind kActivation = nn::ActivationKind::kGelu;

// Part 0, 1 or 2 of a fused projection [B, T, 3 D].
at::Tensor Part(const at::Tensor& projection_BT3D, int64_t part) {
  const int64_t width = projection_BT3D.size(2) / 3;
  return projection_BT3D.narrow(2, part * width, width).contiguous();
}

}  // namespace

EncoderBlock::EncoderBlock(const Options& options)
    : unit_(options.unit),
      norm_1_(options.norm_1),
      projection_(options.projection),
      scores_(options.attention),
      output_(options.output),
      norm_2_(options.norm_2),
      up_(options.up),
      down_(options.down) {}

at::Tensor EncoderBlock::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                 const at::Tensor& input) {
  const at::Tensor normalised = norm_1_.Forward(parameters, input, &kept_.norm_1);
  const at::Tensor projected = projection_.Forward(parameters, normalised, &kept_.projection);
  const at::Tensor attended =
      scores_.Forward(Part(projected, 0), Part(projected, 1), Part(projected, 2),
                      {.key_mask_BT = batch.token_mask_BT}, &kept_.scores);
  at::Tensor middle = output_.Forward(parameters, attended, &kept_.output);
  middle.add_(input);
  const at::Tensor normalised_2 = norm_2_.Forward(parameters, middle, &kept_.norm_2);
  kept_.up_output = up_.Forward(parameters, normalised_2, &kept_.up);
  at::Tensor result =
      down_.Forward(parameters, nn::Activate(kActivation, kept_.up_output), &kept_.down);
  result.add_(middle);
  return result;
}

at::Tensor EncoderBlock::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                  const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor up_grads = nn::ActivateBackward(
      kActivation, kept_.up_output, down_.Backward(parameters, kept_.down, output_grads, sink));
  at::Tensor middle_grads = nn::BackwardThrough(
      norm_2_, parameters, kept_.norm_2, up_.Backward(parameters, kept_.up, up_grads, sink), sink);
  middle_grads.add_(output_grads);
  const nn::GroupedAttention::Grads grads =
      scores_.Backward(kept_.scores, output_.Backward(parameters, kept_.output, middle_grads, sink),
                       {.key_mask_BT = batch.token_mask_BT});
  const at::Tensor projection_grads = at::cat({grads.queries, grads.keys, grads.values}, 2);
  at::Tensor input_grads = nn::BackwardThrough(
      norm_1_, parameters, kept_.norm_1,
      projection_.Backward(parameters, kept_.projection, projection_grads, sink), sink);
  input_grads.add_(middle_grads);
  return input_grads;
}

}  // namespace sotto::models
