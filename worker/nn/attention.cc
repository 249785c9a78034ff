#include "worker/nn/attention.h"

#include <optional>
#include <tuple>

#include "ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h"
#include "ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h"
#include "ATen/ops/empty.h"

namespace sotto::nn {
namespace {

// Part 0, 1 or 2 of a fused projection as [B, heads, T, head width].
at::Tensor Part(const at::Tensor& projection_BT3D, int64_t part, int64_t heads) {
  const int64_t width = projection_BT3D.size(2) / 3;
  return projection_BT3D
      .view({projection_BT3D.size(0), projection_BT3D.size(1), 3, heads, width / heads})
      .select(2, part)
      .transpose(1, 2);
}

}  // namespace

at::Tensor CausalAttention::Forward(const at::Tensor& projection_BT3D, Saved* saved) const {
  saved->projection_BT3D = projection_BT3D;
  std::tie(saved->output, saved->logsumexp) = at::_scaled_dot_product_flash_attention_for_cpu(
      Part(projection_BT3D, 0, heads_), Part(projection_BT3D, 1, heads_),
      Part(projection_BT3D, 2, heads_), /*dropout_p=*/0.0, /*is_causal=*/true,
      /*attn_mask=*/std::nullopt, scale_);
  return saved->output.transpose(1, 2).reshape(
      {projection_BT3D.size(0), projection_BT3D.size(1), projection_BT3D.size(2) / 3});
}

at::Tensor CausalAttention::Backward(const Saved& saved, const at::Tensor& output_grads_BTD) const {
  const at::Tensor& projection = saved.projection_BT3D;
  const int64_t width = output_grads_BTD.size(2);
  const auto [queries, keys, values] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      output_grads_BTD
          .view({output_grads_BTD.size(0), output_grads_BTD.size(1), heads_, width / heads_})
          .transpose(1, 2),
      Part(projection, 0, heads_), Part(projection, 1, heads_), Part(projection, 2, heads_),
      saved.output, saved.logsumexp, /*dropout_p=*/0.0, /*is_causal=*/true,
      /*attn_mask=*/std::nullopt, scale_);
  const at::Tensor grads = at::empty(projection.sizes(), projection.options());
  Part(grads, 0, heads_).copy_(queries);
  Part(grads, 1, heads_).copy_(keys);
  Part(grads, 2, heads_).copy_(values);
  return grads;
}

}  // namespace sotto::nn
