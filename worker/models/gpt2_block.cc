#include "worker/models/gpt2_block.h"

#include "worker/models/unit_layers.h"

namespace sotto::models {

namespace {

constexpr auto kConv1d = nn::Linear::WeightLayout::kInputOutput;

}  // namespace

Gpt2Block::Gpt2Block(int unit, const layout::UnitDescription& d, const Parameters& p,
                     const Options& o)
    : unit_(unit),
      ln_1_(LayerNormOptions(d, p.ln_1_gain, p.ln_1_bias, o.layer_norm_epsilon)),
      attention_(LinearOptions(d, p.attention_weight, p.attention_bias, kConv1d, o.lora_alpha)),
      scores_(o.heads, o.attention_scale),
      heads_(o.heads),
      attention_scale_(o.attention_scale),
      projection_(LinearOptions(d, p.projection_weight, p.projection_bias, kConv1d, o.lora_alpha)),
      ln_2_(LayerNormOptions(d, p.ln_2_gain, p.ln_2_bias, o.layer_norm_epsilon)),
      fc_(LinearOptions(d, p.fc_weight, p.fc_bias, kConv1d, o.lora_alpha)),
      activation_(o.activation),
      mlp_projection_(LinearOptions(d, p.mlp_projection_weight, p.mlp_projection_bias, kConv1d,
                                    o.lora_alpha)) {}

at::Tensor Gpt2Block::Run(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                          AttendTo attend, Kept& kept) const {
  const at::Tensor normalised = ln_1_.Forward(parameters, input, &kept.ln_1);
  const at::Tensor attended = attend(attention_.Forward(parameters, normalised, &kept.attention));
  at::Tensor middle = projection_.Forward(parameters, attended, &kept.projection);
  middle.add_(input);
  const at::Tensor normalised_2 = ln_2_.Forward(parameters, middle, &kept.ln_2);
  kept.fc_output = fc_.Forward(parameters, normalised_2, &kept.fc);
  const at::Tensor activated = nn::Activate(activation_, kept.fc_output);
  at::Tensor output = mlp_projection_.Forward(parameters, activated, &kept.mlp_projection);
  output.add_(middle);
  return output;
}

at::Tensor Gpt2Block::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                              const at::Tensor& input) {
  const auto attend = [this](const at::Tensor& qkv) { return scores_.Forward(qkv, &kept_.scores); };
  return Run(parameters, input, attend, kept_);
}

at::Tensor Gpt2Block::Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                            const at::Tensor& input) {
  Kept unused;
  const int64_t width = input.size(2);
  const auto attend = [&](const at::Tensor& qkv) {
    if (batch.caches != nullptr) {
      nn::AppendToCache(qkv.narrow(2, width, width), qkv.narrow(2, 2 * width, width), PastOf(batch),
                        batch.capacity, (*batch.caches)[unit_]);
    }
    if (batch.past_B.empty()) return scores_.Forward(qkv, &unused.scores);
    return nn::AttendToCache(qkv.narrow(2, 0, width).contiguous(), batch.past_B,
                             (*batch.caches)[unit_],
                             {.heads = heads_,
                              .key_value_heads = heads_,
                              .head_width = width / heads_,
                              .scale = attention_scale_});
  };
  return Run(parameters, input, attend, unused);
}

at::Tensor Gpt2Block::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                               const at::Tensor& output_grads, nn::GradientSink& sink) {
  at::Tensor fc_grads =
      mlp_projection_.Backward(parameters, kept_.mlp_projection, output_grads, sink);
  nn::ActivateBackwardInPlace(activation_, kept_.fc_output, fc_grads);
  const at::Tensor ln_2_grads = fc_.Backward(parameters, kept_.fc, fc_grads, sink);
  fc_grads.reset();
  at::Tensor middle_grads = nn::BackwardThrough(ln_2_, parameters, kept_.ln_2, ln_2_grads, sink);
  middle_grads.add_(output_grads);

  const at::Tensor attended_grads =
      projection_.Backward(parameters, kept_.projection, middle_grads, sink);
  const at::Tensor qkv_grads = scores_.Backward(kept_.scores, attended_grads);
  const at::Tensor ln_1_grads = attention_.Backward(parameters, kept_.attention, qkv_grads, sink);
  at::Tensor input_grads = nn::BackwardThrough(ln_1_, parameters, kept_.ln_1, ln_1_grads, sink);
  input_grads.add_(middle_grads);
  return input_grads;
}

}  // namespace sotto::models
