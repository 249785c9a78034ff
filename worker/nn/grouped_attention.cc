#include "worker/nn/grouped_attention.h"

#include <tuple>

#include "ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h"
#include "ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h"

namespace sotto::nn {
namespace {

// Added to the scores of masked keys.
constexpr double kMasked = -1e30;

at::Tensor Heads(const at::Tensor& values, int64_t heads, int64_t head_width) {
  return values.view({values.size(0), values.size(1), heads, head_width});
}

// [B, T, kv heads, width] -> [B, heads, T, width], each head of keys or values once per query head.
at::Tensor Repeat(const at::Tensor& values, int64_t heads) {
  const int64_t shared = values.size(2);
  if (shared == heads) return values.transpose(1, 2);
  return values.unsqueeze(3)
      .expand({values.size(0), values.size(1), shared, heads / shared, values.size(3)})
      .reshape({values.size(0), values.size(1), heads, values.size(3)})
      .transpose(1, 2);
}

// The transpose of Repeat: [B, heads, T, width] -> [B, T, kv heads, width], contiguous.
at::Tensor SumGroups(const at::Tensor& grads, int64_t shared) {
  const at::Tensor rows = grads.transpose(1, 2).contiguous();
  const int64_t heads = rows.size(2);
  if (shared == heads) return rows;
  return rows.view({rows.size(0), rows.size(1), shared, heads / shared, rows.size(3)}).sum(3);
}

c10::optional<double> ScaleOf(const GroupedAttention::Options& options) {
  if (options.scale == 0) return c10::nullopt;
  return options.scale;
}

at::Tensor Flat(const at::Tensor& values_BTHW) {
  return values_BTHW.reshape(
      {values_BTHW.size(0), values_BTHW.size(1), values_BTHW.size(2) * values_BTHW.size(3)});
}

}  // namespace

at::Tensor GroupedAttention::Forward(const at::Tensor& queries, const at::Tensor& keys,
                                     const at::Tensor& values, const Context& context,
                                     Saved* saved) const {
  at::Tensor q = Heads(queries, options_.heads, options_.head_width);
  at::Tensor k = Heads(keys, options_.key_value_heads, options_.head_width);
  if (context.rotary != nullptr) {
    q = context.rotary->Turn(q);
    k = context.rotary->Turn(k);
  }
  saved->queries = q.transpose(1, 2);
  saved->keys = Repeat(k, options_.heads);
  saved->values =
      Repeat(Heads(values, options_.key_value_heads, options_.head_width), options_.heads);
  saved->bias = at::Tensor();
  c10::optional<at::Tensor> bias;
  if (context.key_mask_BT.defined()) {
    const at::Tensor is_masked = context.key_mask_BT.eq(0);
    const at::Tensor has_key = is_masked.logical_not().any(1, /*keepdim=*/true);
    saved->bias = is_masked.logical_and(has_key)
                      .to(queries.scalar_type())
                      .mul(kMasked)
                      .view({queries.size(0), 1, 1, queries.size(1)});
    bias = saved->bias;
  }
  std::tie(saved->output, saved->logsumexp) = at::_scaled_dot_product_flash_attention_for_cpu(
      saved->queries, saved->keys, saved->values, /*dropout_p=*/0.0, options_.causal, bias,
      ScaleOf(options_));
  return Flat(saved->output.transpose(1, 2));
}

GroupedAttention::Grads GroupedAttention::Backward(const Saved& saved,
                                                   const at::Tensor& output_grads,
                                                   const Context& context) const {
  c10::optional<at::Tensor> bias;
  if (saved.bias.defined()) bias = saved.bias;
  const auto [queries, keys, values] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      Heads(output_grads, options_.heads, options_.head_width).transpose(1, 2), saved.queries,
      saved.keys, saved.values, saved.output, saved.logsumexp, /*dropout_p=*/0.0, options_.causal,
      bias, ScaleOf(options_));
  at::Tensor q = queries.transpose(1, 2).contiguous();
  at::Tensor k = SumGroups(keys, options_.key_value_heads);
  if (context.rotary != nullptr) {
    q = context.rotary->TurnBack(q);
    k = context.rotary->TurnBack(k);
  }
  return {.queries = Flat(q),
          .keys = Flat(k),
          .values = Flat(SumGroups(values, options_.key_value_heads))};
}

}  // namespace sotto::nn
