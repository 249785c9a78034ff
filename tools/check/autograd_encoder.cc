#include "tools/check/autograd_encoder.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"

namespace sotto::check {
namespace {

at::Tensor Normalised(const NamedTensors& named, const std::string& name, const at::Tensor& x,
                      double epsilon) {
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor variance = centred.square().mean(-1, /*keepdim=*/true);
  return centred / (variance + epsilon).sqrt() * named.at(name + ".weight") +
         named.at(name + ".bias");
}

at::Tensor Times(const NamedTensors& named, const std::string& name, const at::Tensor& x) {
  return x.matmul(named.at(name + ".weight").t());
}

at::Tensor Attention(const at::Tensor& qkv, int64_t heads) {
  const int64_t tokens = qkv.size(0);
  const int64_t width = qkv.size(1) / 3;
  std::vector<at::Tensor> parts = qkv.chunk(3, 1);
  for (at::Tensor& part : parts) {
    part = part.reshape({tokens, heads, width / heads}).transpose(0, 1);
  }
  const at::Tensor scores =
      parts[0].matmul(parts[1].transpose(1, 2)) / std::sqrt(static_cast<double>(width / heads));
  return scores.softmax(-1).matmul(parts[2]).transpose(0, 1).reshape({tokens, width});
}

at::Tensor Gelu(const at::Tensor& x) { return 0.5 * x * (1 + (x * std::sqrt(0.5)).erf()); }

at::Tensor Logits(const layout::EncoderDimensions& dimensions, const NamedTensors& named,
                  const at::Tensor& tokens_T) {
  const double epsilon = dimensions.layer_norm_epsilon;
  at::Tensor x = named.at("tokens.weight").index_select(0, tokens_T) +
                 named.at("positions.weight").narrow(0, 0, tokens_T.size(0));
  for (int64_t i = 0; i < dimensions.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    const at::Tensor qkv =
        Times(named, block + "attention.qkv", Normalised(named, block + "norm_1", x, epsilon));
    x = x + Times(named, block + "attention.output", Attention(qkv, dimensions.heads));
    const at::Tensor up =
        Times(named, block + "mlp.up", Normalised(named, block + "norm_2", x, epsilon));
    x = x + Times(named, block + "mlp.down", Gelu(up));
  }
  return Times(named, "classifier", Normalised(named, "norm", x, epsilon).mean(0));
}

}  // namespace

at::Tensor AutogradEncoderLoss(const layout::EncoderDimensions& dimensions,
                               const NamedTensors& named, const at::Tensor& tokens_T,
                               int64_t label) {
  const at::Tensor logits = Logits(dimensions, named, tokens_T);
  return label < 0 ? logits.sum() * 0 : -logits.log_softmax(0)[label];
}

}  // namespace sotto::check
