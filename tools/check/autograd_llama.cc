#include "tools/check/autograd_llama.h"

#include <cmath>
#include <limits>
#include <string>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"
#include "common/layout/rotary.h"

namespace sotto::check {
namespace {

at::Tensor Normalised(const at::Tensor& x, const at::Tensor& gain, double epsilon) {
  return x / (x.square().mean(-1, /*keepdim=*/true) + epsilon).sqrt() * gain;
}

at::Tensor Linear(const NamedTensors& named, const std::string& name, const at::Tensor& x) {
  const at::Tensor y = x.matmul(named.at(name + ".weight").t());
  const auto bias = named.find(name + ".bias");
  return bias == named.end() ? y : y + bias->second;
}

// Turns the pairs (j, j + width / 2) of x [heads, T, width] by position times frequency.
at::Tensor Rotated(const at::Tensor& x, const layout::RotaryFrequencies& rotary) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor frequencies = at::empty({half}, at::kDouble);
  for (int64_t j = 0; j < half; ++j) frequencies[j] = rotary.frequencies[j];
  const at::Tensor angles = at::arange(x.size(1), at::kDouble).outer(frequencies);
  const at::Tensor cosine = angles.cos() * rotary.magnitude;
  const at::Tensor sine = angles.sin() * rotary.magnitude;
  const at::Tensor first = x.narrow(2, 0, half);
  const at::Tensor second = x.narrow(2, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 2);
}

at::Tensor Attention(const layout::LlamaDimensions& d, const NamedTensors& named,
                     const std::string& name, const at::Tensor& x) {
  const int64_t tokens = x.size(0);
  const auto heads_of = [&](const char* part, int64_t heads) {
    return Linear(named, name + part, x).reshape({tokens, heads, d.head_width}).transpose(0, 1);
  };
  const auto normalised = [&](const char* norm, const at::Tensor& values) {
    return d.query_key_norm
               ? Normalised(values, named.at(name + norm + ".weight"), d.rms_norm_epsilon)
               : values;
  };
  const layout::RotaryFrequencies rotary =
      layout::ComputeRotaryFrequencies(d.rotary, d.head_width, d.max_length, tokens);
  const at::Tensor queries = Rotated(normalised("q_norm", heads_of("q_proj", d.heads)), rotary);
  const at::Tensor keys =
      Rotated(normalised("k_norm", heads_of("k_proj", d.key_value_heads)), rotary);
  const at::Tensor values = heads_of("v_proj", d.key_value_heads);
  const int64_t shared = d.heads / d.key_value_heads;  // queries of one key
  at::Tensor scores = queries.matmul(keys.repeat_interleave(shared, 0).transpose(1, 2)) /
                      std::sqrt(static_cast<double>(d.head_width));
  const at::Tensor future = at::ones({tokens, tokens}, at::kBool).triu(/*diagonal=*/1);
  scores = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  const at::Tensor mixed = scores.softmax(-1)
                               .matmul(values.repeat_interleave(shared, 0))
                               .transpose(0, 1)
                               .reshape({tokens, d.heads * d.head_width});
  return Linear(named, name + "o_proj", mixed);
}

}  // namespace

at::Tensor AutogradLlamaLogits(const layout::LlamaDimensions& d, const NamedTensors& named,
                               const at::Tensor& tokens_T) {
  at::Tensor x = named.at("embed_tokens.weight").index_select(0, tokens_T);
  for (int64_t i = 0; i < d.layers; ++i) {
    const std::string block = "layers." + std::to_string(i) + ".";
    x = x +
        Attention(d, named, block + "self_attn.",
                  Normalised(x, named.at(block + "input_layernorm.weight"), d.rms_norm_epsilon));
    const at::Tensor hidden =
        Normalised(x, named.at(block + "post_attention_layernorm.weight"), d.rms_norm_epsilon);
    const at::Tensor gate = Linear(named, block + "mlp.gate_proj", hidden);
    const at::Tensor up = Linear(named, block + "mlp.up_proj", hidden);
    x = x + Linear(named, block + "mlp.down_proj", gate * gate.sigmoid() * up);
  }
  x = Normalised(x, named.at("norm.weight"), d.rms_norm_epsilon);
  return x.matmul(named.at(d.tied_head ? "embed_tokens.weight" : "lm_head.weight").t());
}

}  // namespace sotto::check
