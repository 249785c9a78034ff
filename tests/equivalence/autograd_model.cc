#include "tests/equivalence/autograd_model.h"

#include <cmath>

namespace sotto::equivalence {

torch::Tensor AutogradGpt2::Norm(const torch::Tensor& x, const std::string& name) const {
  const torch::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const torch::Tensor variance = centred.square().mean(-1, /*keepdim=*/true);
  return centred / (variance + 1e-5).sqrt() * Get(name + ".weight") + Get(name + ".bias");
}

torch::Tensor AutogradGpt2::Linear(const torch::Tensor& x, const std::string& name) const {
  return x.matmul(Get(name + ".weight")) + Get(name + ".bias");
}

torch::Tensor AutogradGpt2::Attention(const torch::Tensor& x, const std::string& block) const {
  const int64_t length = x.size(0);
  const int64_t head_width = x.size(1) / heads_;
  const std::vector<torch::Tensor> qkv = Linear(x, block + "attn.c_attn").chunk(3, -1);
  const auto split = [&](const torch::Tensor& t) {
    return t.view({length, heads_, head_width}).transpose(0, 1);
  };
  torch::Tensor scores =
      split(qkv[0]).matmul(split(qkv[1]).transpose(1, 2)) / std::sqrt(head_width);
  const torch::Tensor future = torch::ones({length, length}, torch::kBool).triu(1);
  scores = scores.masked_fill(future, -INFINITY);
  const torch::Tensor mixed =
      scores.softmax(-1).matmul(split(qkv[2])).transpose(0, 1).reshape({length, -1});
  return Linear(mixed, block + "attn.c_proj");
}

torch::Tensor AutogradGpt2::Loss(const std::vector<int64_t>& tokens,
                                 const std::vector<float>& scored) const {
  const int64_t length = static_cast<int64_t>(tokens.size());
  const torch::Tensor ids = torch::tensor(tokens, torch::kLong);
  torch::Tensor x = Get("wte.weight").index_select(0, ids) + Get("wpe.weight").narrow(0, 0, length);
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const std::string block = "h." + std::to_string(layer) + ".";
    x = x + Attention(Norm(x, block + "ln_1"), block);
    const torch::Tensor hidden = Linear(Norm(x, block + "ln_2"), block + "mlp.c_fc");
    const torch::Tensor gelu =
        0.5 * hidden * (1 + (std::sqrt(2 / M_PI) * (hidden + 0.044715 * hidden.pow(3))).tanh());
    x = x + Linear(gelu, block + "mlp.c_proj");
  }
  const bool tied = !parameters_.contains("lm_head.weight");
  const torch::Tensor logits =
      Norm(x, "ln_f").matmul(Get(tied ? "wte.weight" : "lm_head.weight").t());
  const torch::Tensor log_probabilities = logits.log_softmax(-1);
  torch::Tensor sum = torch::zeros({}, torch::kDouble);
  int64_t count = 0;
  for (int64_t t = 1; t < length; ++t) {
    if (scored[t] == 0) continue;
    sum = sum - log_probabilities[t - 1][tokens[t]];
    ++count;
  }
  return count == 0 ? sum : sum / count;
}

}  // namespace sotto::equivalence
