#include "worker/models/encoder_block.h"

namespace sotto::models {

EncoderBlock::EncoderBlock(const Options& options)
    : unit_(options.unit),
      norm_1_(options.norm_1),
      attention_(options.attention),
      norm_2_(options.norm_2),
      mlp_(options.mlp) {}

at::Tensor EncoderBlock::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                 const at::Tensor& input) {
  const at::Tensor normalised = norm_1_.Forward(parameters, input, &kept_.norm_1);
  at::Tensor middle =
      attention_.Forward(parameters, normalised, batch.token_mask_BT, &kept_.attention);
  middle.add_(input);
  const at::Tensor normalised_2 = norm_2_.Forward(parameters, middle, &kept_.norm_2);
  at::Tensor result = mlp_.Forward(parameters, normalised_2, &kept_.mlp);
  result.add_(middle);
  return result;
}

at::Tensor EncoderBlock::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                  const at::Tensor& output_grads, nn::GradientSink& sink) {
  at::Tensor middle_grads =
      nn::BackwardThrough(norm_2_, parameters, kept_.norm_2,
                          mlp_.Backward(parameters, kept_.mlp, output_grads, sink), sink);
  middle_grads.add_(output_grads);
  at::Tensor input_grads = nn::BackwardThrough(
      norm_1_, parameters, kept_.norm_1,
      attention_.Backward(parameters, kept_.attention, batch.token_mask_BT, middle_grads, sink),
      sink);
  input_grads.add_(middle_grads);
  return input_grads;
}

}  // namespace sotto::models
