#include "tests/equivalence/autograd_all_layers.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace sotto::equivalence {
namespace {

torch::Tensor Disturbed(const torch::Tensor& x, double rounding) {
  return x * (1 + rounding * (2 * torch::rand_like(x) - 1));
}

// Disturbs a value on the way forward and its gradient on the way back.
class Disturbance : public torch::autograd::Function<Disturbance> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               double rounding) {
    context->saved_data["rounding"] = rounding;
    return Disturbed(x, rounding);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    return {Disturbed(grads[0], context->saved_data["rounding"].toDouble()), torch::Tensor()};
  }
};

// The model's parameters, and what happens between its layers.
struct Named {
  std::map<std::string, torch::Tensor> tensors;  // by "unit/parameter"
  double rounding = 0;

  bool contains(const std::string& name) const { return tensors.contains(name); }
  const torch::Tensor& at(const std::string& name) const { return tensors.at(name); }
  torch::Tensor Edge(const torch::Tensor& x) const {
    return rounding == 0 ? x : Disturbance::apply(x, rounding);
  }
};

constexpr int64_t kWidth = 16;
constexpr int64_t kHeadWidth = 4;
constexpr double kEpsilon = 1e-5;
constexpr double kLoraScale = 3.0 / 2;

torch::Tensor RmsNorm(const torch::Tensor& x, const torch::Tensor& gain) {
  return x / torch::sqrt(x.pow(2).mean(-1, true) + kEpsilon) * gain;
}

torch::Tensor LayerNorm(const torch::Tensor& x, const torch::Tensor& gain,
                        const torch::Tensor& bias) {
  const torch::Tensor centred = x - x.mean(-1, true);
  return centred / torch::sqrt(centred.pow(2).mean(-1, true) + kEpsilon) * gain + bias;
}

torch::Tensor Conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                   std::vector<int64_t> stride, std::vector<int64_t> padding, int64_t groups) {
  return torch::conv2d(x, weight, bias, stride, padding, /*dilation=*/1, groups);
}

torch::Tensor Convolution(const Named& p, const torch::Tensor& x, const torch::Tensor& tokens) {
  const int64_t length = x.size(0);
  const torch::Tensor sum = p.Edge(x + p.at("convolution/again.weight").index_select(0, tokens));
  const torch::Tensor image = sum.reshape({length, 4, 4}).permute({1, 0, 2}).unsqueeze(0);
  const torch::Tensor spread = p.Edge(Conv(image, p.at("convolution/spread.weight"),
                                           p.at("convolution/spread.bias"), {1, 2}, {2, 1}, 1))
                                   .slice(2, 0, length);
  const torch::Tensor mixed =
      p.Edge(Conv(p.Edge(spread * torch::sigmoid(spread)), p.at("convolution/mix.weight"),
                  torch::Tensor(), {1, 1}, {2, 0}, 2))
          .slice(2, 0, length);
  return p.Edge(sum + mixed.squeeze(0).permute({1, 0, 2}).reshape({length, kWidth}));
}

// [T, heads, kHeadWidth], each pair (j, j + 2) turned by position * frequency.
torch::Tensor Turn(const torch::Tensor& x) {
  const torch::Tensor positions = torch::arange(x.size(0), torch::kDouble).view({-1, 1, 1});
  const torch::Tensor angles =
      positions * torch::tensor({1.0, 0.1}, torch::kDouble).view({1, 1, 2});
  const torch::Tensor first = x.slice(2, 0, 2);
  const torch::Tensor second = x.slice(2, 2, 4);
  return torch::cat(
      {first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()},
      2);
}

torch::Tensor Attention(const Named& p, const torch::Tensor& x) {
  const int64_t length = x.size(0);
  const torch::Tensor n = p.Edge(RmsNorm(x, p.at("attention/norm.weight")));
  const auto project = [&](const std::string& name) {
    return p.Edge(n.matmul(p.at("attention/" + name + ".weight").t()))
        .reshape({length, -1, kHeadWidth});
  };
  const torch::Tensor q = p.Edge(Turn(project("q")));
  const torch::Tensor k = p.Edge(Turn(project("k")));
  const torch::Tensor v = project("v");
  std::vector<torch::Tensor> heads;
  for (int64_t head = 0; head < q.size(1); ++head) {
    const int64_t shared = head / (q.size(1) / k.size(1));
    torch::Tensor scores = q.select(1, head).matmul(k.select(1, shared).t()) / 2.0;
    scores = scores.masked_fill(torch::ones({length, length}, torch::kBool).triu(1),
                                -std::numeric_limits<double>::infinity());
    heads.push_back(p.Edge(torch::softmax(scores, -1)).matmul(v.select(1, shared)));
  }
  const torch::Tensor mixed = p.Edge(torch::cat(heads, 1));
  const torch::Tensor base =
      p.Edge(mixed.matmul(p.at("attention/o.weight").t()) + p.at("attention/o.bias"));
  const torch::Tensor down =
      p.Edge(kLoraScale * p.Edge(mixed.matmul(p.at("attention/o.lora_A.weight").t())));
  const torch::Tensor up = p.Edge(down.matmul(p.at("attention/o.lora_B.weight").t()));
  return p.Edge(x + p.Edge(base + up));
}

torch::Tensor GroupNorm(const torch::Tensor& image, const torch::Tensor& gain,
                        const torch::Tensor& bias) {
  const torch::Tensor groups = image.reshape({2, -1});
  const torch::Tensor centred = groups - groups.mean(1, true);
  const torch::Tensor normalised =
      (centred / torch::sqrt(centred.pow(2).mean(1, true) + kEpsilon)).view_as(image);
  return normalised * gain.view({1, -1, 1, 1}) + bias.view({1, -1, 1, 1});
}

torch::Tensor Modulation(const Named& p, const torch::Tensor& x, const torch::Tensor& tokens) {
  const torch::Tensor topic =
      p.at("modulation/topic.weight").index_select(0, tokens.slice(0, 0, 1)).view({1, 4, 2, 2});
  torch::Tensor image = p.Edge(
      GroupNorm(topic, p.at("modulation/group_norm.weight"), p.at("modulation/group_norm.bias")));
  image = p.Edge(Conv(p.Edge(image * torch::sigmoid(image)), p.at("modulation/pool.weight"),
                      p.at("modulation/pool.bias"), {2, 2}, {1, 1}, 2));
  const torch::Tensor modulation =
      p.Edge(image.view({1, 8}).matmul(p.at("modulation/modulate.weight")) +
             p.at("modulation/modulate.bias"));
  torch::Tensor h =
      p.Edge(LayerNorm(x, p.at("modulation/norm.weight"), p.at("modulation/norm.bias")));
  h = p.Edge(h * p.Edge(1 + modulation.slice(1, 0, kWidth)));
  h = p.Edge(h + modulation.slice(1, kWidth, 2 * kWidth));
  h = p.Edge(h.matmul(p.at("modulation/fc.weight")) + p.at("modulation/fc.bias"));
  h = p.Edge(0.5 * h * (1 + torch::tanh(std::sqrt(2 / M_PI) * (h + 0.044715 * h.pow(3)))));
  h = p.Edge(h.matmul(p.at("modulation/proj.weight")) + p.at("modulation/proj.bias"));
  return p.Edge(x + h);
}

torch::Tensor Logits(const Named& p, const torch::Tensor& tokens) {
  torch::Tensor x = p.Edge(p.at("root/wte.weight").index_select(0, tokens) +
                           p.at("root/wpe.weight").slice(0, 0, tokens.size(0)));
  x = Convolution(p, x, tokens);
  x = Attention(p, x);
  x = Modulation(p, x, tokens);
  const torch::Tensor kept = p.Edge(x.matmul(p.at("frozen/kept.weight").t()));
  x = p.Edge(x + p.Edge(kept * torch::sigmoid(kept)));
  x = p.Edge(RmsNorm(x, p.at("scale/scale.weight")));
  x = p.Edge(LayerNorm(x, p.at("root/ln_f.weight"), p.at("root/ln_f.bias")));
  const bool untied = p.contains("root/lm_head.weight");
  return p.Edge(x.matmul(p.at(untied ? "root/lm_head.weight" : "root/wte.weight").t()));
}

}  // namespace

ExampleGradient AutogradAllLayers(const layout::ModelDescription& description,
                                  const UnitTensors& parameters, const at::Tensor& tokens_T,
                                  const at::Tensor& loss_mask_T, bool mean_loss, double rounding) {
  Named named{.rounding = rounding};
  std::vector<torch::Tensor> leaves;
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      const layout::ParameterDescription& parameter = description.units[unit].parameters[i];
      const torch::Tensor leaf = parameters[unit][i]
                                     .detach()
                                     .to(torch::kDouble)
                                     .clone()
                                     .requires_grad_(parameter.trainable);
      named.tensors[description.units[unit].name + "/" + parameter.name] =
          rounding == 0 ? leaf : leaf * Disturbed(torch::ones_like(leaf), rounding);
      if (parameter.trainable) leaves.push_back(leaf);
    }
  }
  const torch::Tensor loss =
      LanguageLoss(Logits(named, tokens_T), tokens_T, loss_mask_T, mean_loss);
  return GradientOf(description, loss, leaves);
}

}  // namespace sotto::equivalence
