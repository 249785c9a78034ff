#include "tools/check/autograd_gradient.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"
#include "torch/csrc/autograd/autograd.h"

namespace sotto::check {

equivalence::ExampleGradient AutogradOf(const layout::ModelDescription& description,
                                        const equivalence::UnitTensors& parameters,
                                        absl::FunctionRef<at::Tensor(const NamedTensors&)> loss) {
  NamedTensors named;
  std::vector<at::Tensor> leaves;
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      leaves.push_back(parameters[unit][i].detach().to(at::kDouble));
      leaves.back().set_requires_grad(true);
      named[description.units[unit].parameters[i].name] = leaves.back();
    }
  }
  const at::Tensor value = loss(named);
  equivalence::ExampleGradient result{.loss = value.item<double>()};
  const std::vector<at::Tensor> gradients = torch::autograd::grad(
      {value}, leaves, /*grad_outputs=*/{}, /*retain_graph=*/false, /*create_graph=*/false,
      /*allow_unused=*/true);
  double norm_sq = 0;
  size_t next = 0;
  for (const std::vector<at::Tensor>& unit : parameters) {
    result.gradients.emplace_back();
    for (size_t i = 0; i < unit.size(); ++i, ++next) {
      const at::Tensor& gradient = gradients[next];
      result.gradients.back().push_back(gradient.defined() ? gradient
                                                           : at::zeros_like(leaves[next]));
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
