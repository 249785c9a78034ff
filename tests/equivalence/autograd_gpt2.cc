#include "tests/equivalence/autograd_gpt2.h"

#include <torch/torch.h>

#include <cmath>
#include <map>
#include <string>
#include <variant>

namespace sotto::equivalence {
namespace {

struct Named {
  const torch::Tensor& at(const std::string& name) const { return tensors.at(name); }

  std::map<std::string, torch::Tensor> tensors;
  double lora_alpha = 0;
};

torch::Tensor LayerNorm(const Named& named, const std::string& name, const torch::Tensor& x,
                        double epsilon) {
  const torch::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const torch::Tensor variance = centred.pow(2).mean(-1, /*keepdim=*/true);
  return centred / torch::sqrt(variance + epsilon) * named.at(name + ".weight") +
         named.at(name + ".bias");
}

torch::Tensor Linear(const Named& named, const std::string& name, const torch::Tensor& x) {
  const torch::Tensor y = torch::matmul(x, named.at(name + ".weight")) + named.at(name + ".bias");
  if (!named.tensors.contains(name + ".lora_A.weight")) return y;
  const torch::Tensor down = named.at(name + ".lora_A.weight").transpose(0, 1);
  const torch::Tensor up = named.at(name + ".lora_B.weight").transpose(0, 1);
  const double scale = named.lora_alpha / static_cast<double>(down.size(1));
  return y + scale * torch::matmul(torch::matmul(x, down), up);
}

torch::Tensor Attention(const torch::Tensor& qkv, int64_t heads) {
  const int64_t tokens = qkv.size(0);
  const int64_t width = qkv.size(1) / 3;
  std::vector<torch::Tensor> parts = qkv.chunk(3, 1);
  for (torch::Tensor& part : parts) {
    part = part.reshape({tokens, heads, width / heads}).transpose(0, 1);
  }
  torch::Tensor scores = torch::matmul(parts[0], parts[1].transpose(1, 2)) /
                         std::sqrt(static_cast<double>(width / heads));
  const torch::Tensor future = torch::ones({tokens, tokens}, torch::kBool).triu(/*diagonal=*/1);
  scores = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  return torch::matmul(torch::softmax(scores, -1), parts[2])
      .transpose(0, 1)
      .reshape({tokens, width});
}

torch::Tensor Gelu(const torch::Tensor& x) {
  return 0.5 * x * (1 + torch::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))));
}

torch::Tensor Logits(const layout::Gpt2Dimensions& dimensions, const Named& named,
                     const torch::Tensor& tokens_T) {
  torch::Tensor x = named.at("wte.weight").index_select(0, tokens_T) +
                    named.at("wpe.weight").narrow(0, 0, tokens_T.size(0));
  for (int64_t i = 0; i < dimensions.layers; ++i) {
    const std::string block = "h." + std::to_string(i) + ".";
    const double epsilon = dimensions.layer_norm_epsilon;
    const torch::Tensor qkv =
        Linear(named, block + "attn.c_attn", LayerNorm(named, block + "ln_1", x, epsilon));
    x = x + Linear(named, block + "attn.c_proj", Attention(qkv, dimensions.heads));
    const torch::Tensor fc =
        Linear(named, block + "mlp.c_fc", LayerNorm(named, block + "ln_2", x, epsilon));
    x = x + Linear(named, block + "mlp.c_proj", Gelu(fc));
  }
  x = LayerNorm(named, "ln_f", x, dimensions.layer_norm_epsilon);
  return torch::matmul(
      x, named.at(dimensions.tied_head ? "wte.weight" : "lm_head.weight").transpose(0, 1));
}

}  // namespace

ExampleGradient AutogradExample(const layout::ModelDescription& description,
                                const UnitTensors& parameters, const at::Tensor& tokens_T,
                                const at::Tensor& loss_mask_T, bool mean_loss) {
  Named named{.tensors = {}, .lora_alpha = description.lora_alpha};
  std::vector<torch::Tensor> leaves;
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      const layout::ParameterDescription& parameter = description.units[unit].parameters[i];
      const torch::Tensor value = parameters[unit][i].detach().to(torch::kDouble).clone();
      if (parameter.trainable) leaves.push_back(value.requires_grad_(true));
      named.tensors[parameter.name] = value;
    }
  }
  const torch::Tensor logits =
      Logits(std::get<layout::Gpt2Dimensions>(description.family), named, tokens_T);
  return GradientOf(description, LanguageLoss(logits, tokens_T, loss_mask_T, mean_loss), leaves);
}

}  // namespace sotto::equivalence
