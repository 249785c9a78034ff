#include "tools/check/autograd_gradient.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "torch/csrc/autograd/autograd.h"

namespace sotto::check {
namespace {

// W + alpha / rank B A.
void AddAdapters(double alpha, NamedTensors& named) {
  constexpr absl::string_view kDown = ".lora_A.weight";
  for (const auto& [name, down] : named) {
    if (!absl::EndsWith(name, kDown)) continue;
    const std::string base = name.substr(0, name.size() - kDown.size());
    const double scale = alpha / static_cast<double>(down.size(0));
    at::Tensor& weight = named.at(base + ".weight");
    weight = weight + scale * named.at(base + ".lora_B.weight").matmul(down);
  }
}

}  // namespace

equivalence::ExampleGradient AutogradOf(const layout::ModelDescription& description,
                                        const equivalence::UnitTensors& parameters,
                                        absl::FunctionRef<at::Tensor(const NamedTensors&)> loss) {
  NamedTensors named;
  std::vector<at::Tensor> leaves;
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      const layout::ParameterDescription& parameter = description.units[unit].parameters[i];
      at::Tensor& value = named[parameter.name];
      value = parameters[unit][i].detach().to(at::kDouble);
      if (!parameter.trainable) continue;
      leaves.push_back(value.set_requires_grad(true));
    }
  }
  AddAdapters(description.lora_alpha, named);
  const at::Tensor value = loss(named);
  equivalence::ExampleGradient result{.loss = value.item<double>()};
  const std::vector<at::Tensor> gradients = torch::autograd::grad(
      {value}, leaves, /*grad_outputs=*/{}, /*retain_graph=*/false, /*create_graph=*/false,
      /*allow_unused=*/true);
  double norm_sq = 0;
  size_t next = 0;
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    result.gradients.emplace_back();
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      const bool is_leaf = description.units[unit].parameters[i].trainable;
      const at::Tensor gradient = is_leaf ? gradients[next++] : at::Tensor();
      result.gradients.back().push_back(
          gradient.defined() ? gradient : at::zeros_like(parameters[unit][i], at::kDouble));
      norm_sq += result.gradients.back().back().square().sum().item<double>();
    }
  }
  result.norm = std::sqrt(norm_sq);
  return result;
}

at::Tensor LanguageLoss(const at::Tensor& logits_TV, const at::Tensor& tokens_T,
                        const at::Tensor& loss_mask_T, bool is_mean) {
  const int64_t scored = tokens_T.size(0) - 1;
  at::Tensor weights = loss_mask_T.to(at::kDouble).narrow(0, 1, scored);
  if (is_mean) weights = weights / std::max(1.0, weights.sum().item<double>());
  const at::Tensor log_probabilities = logits_TV.narrow(0, 0, scored)
                                           .log_softmax(-1)
                                           .gather(1, tokens_T.narrow(0, 1, scored).unsqueeze(1))
                                           .squeeze(1);
  return -(weights * log_probabilities).sum();
}

}  // namespace sotto::check
