#include "worker/models/self_attention.h"

#include "ATen/ops/cat.h"

namespace sotto::models {
namespace {

// Part 0, 1 or 2 of a fused projection [B, T, 3 D].
at::Tensor Part(const at::Tensor& projection_BT3D, int64_t part) {
  const int64_t width = projection_BT3D.size(2) / 3;
  return projection_BT3D.narrow(2, part * width, width).contiguous();
}

}  // namespace

SelfAttention::SelfAttention(const Options& options)
    : projection_(options.projection),
      scores_({.heads = options.heads,
               .key_value_heads = options.heads,
               .head_width = options.head_width,
               .causal = false}),
      output_(options.output) {}

at::Tensor SelfAttention::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                                  const at::Tensor& key_mask_BT, Saved* saved) const {
  const at::Tensor projected = projection_.Forward(parameters, input, &saved->projection);
  const at::Tensor attended =
      scores_.Forward(Part(projected, 0), Part(projected, 1), Part(projected, 2),
                      {.key_mask_BT = key_mask_BT}, &saved->scores);
  return output_.Forward(parameters, attended, &saved->output);
}

at::Tensor SelfAttention::Backward(absl::Span<const at::Tensor> parameters, const Saved& saved,
                                   const at::Tensor& key_mask_BT, const at::Tensor& output_grads,
                                   nn::GradientSink& sink) const {
  const nn::GroupedAttention::Grads grads =
      scores_.Backward(saved.scores, output_.Backward(parameters, saved.output, output_grads, sink),
                       {.key_mask_BT = key_mask_BT});
  return projection_.Backward(parameters, saved.projection,
                              at::cat({grads.queries, grads.keys, grads.values}, 2), sink);
}

}  // namespace sotto::models
