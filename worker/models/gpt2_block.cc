#include "worker/models/gpt2_block.h"

#include "ATen/ops/gelu.h"
#include "ATen/ops/gelu_backward.h"

namespace sotto::models {

Gpt2Block::Gpt2Block(int unit, const Parameters& p, int64_t heads, double layer_norm_epsilon)
    : unit_(unit),
      ln_1_({.gain = p.ln_1_gain, .bias = p.ln_1_bias, .epsilon = layer_norm_epsilon}),
      attention_({.weight = p.attention_weight, .bias = p.attention_bias}),
      scores_(heads),
      projection_({.weight = p.projection_weight, .bias = p.projection_bias}),
      ln_2_({.gain = p.ln_2_gain, .bias = p.ln_2_bias, .epsilon = layer_norm_epsilon}),
      fc_({.weight = p.fc_weight, .bias = p.fc_bias}),
      mlp_projection_({.weight = p.mlp_projection_weight, .bias = p.mlp_projection_bias}) {}

at::Tensor Gpt2Block::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                              const at::Tensor& input) {
  const at::Tensor normalised = ln_1_.Forward(parameters, input, &kept_.ln_1);
  const at::Tensor qkv = attention_.Forward(parameters, normalised, &kept_.attention);
  const at::Tensor attended = scores_.Forward(qkv, &kept_.scores);
  at::Tensor middle = projection_.Forward(parameters, attended, &kept_.projection);
  middle.add_(input);
  const at::Tensor normalised_2 = ln_2_.Forward(parameters, middle, &kept_.ln_2);
  kept_.fc_output = fc_.Forward(parameters, normalised_2, &kept_.fc);
  const at::Tensor activated = at::gelu(kept_.fc_output, "tanh");
  at::Tensor output = mlp_projection_.Forward(parameters, activated, &kept_.mlp_projection);
  output.add_(middle);
  return output;
}

at::Tensor Gpt2Block::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                               const at::Tensor& output_grads, nn::GradientSink& sink) {
  const auto through = [&](const nn::Layer& layer, const nn::SavedInput& saved,
                           const at::Tensor& grads) {
    return nn::BackwardThrough(layer, parameters, saved, grads, sink);
  };
  at::Tensor fc_grads = through(mlp_projection_, kept_.mlp_projection, output_grads);
  at::gelu_backward_out(fc_grads, fc_grads, kept_.fc_output, "tanh");
  const at::Tensor ln_2_grads = through(fc_, kept_.fc, fc_grads);
  fc_grads.reset();
  at::Tensor middle_grads = through(ln_2_, kept_.ln_2, ln_2_grads);
  middle_grads.add_(output_grads);

  const at::Tensor attended_grads = through(projection_, kept_.projection, middle_grads);
  const at::Tensor qkv_grads = scores_.Backward(kept_.scores, attended_grads);
  const at::Tensor ln_1_grads = through(attention_, kept_.attention, qkv_grads);
  at::Tensor input_grads = through(ln_1_, kept_.ln_1, ln_1_grads);
  input_grads.add_(middle_grads);
  return input_grads;
}

}  // namespace sotto::models
