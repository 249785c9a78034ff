#include "tests/equivalence/example_gradient.h"

#include <algorithm>
#include <cmath>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"
#include "torch/csrc/autograd/autograd.h"

namespace sotto::equivalence {

ExampleGradient GradientOf(const layout::ModelDescription& description, const at::Tensor& loss,
                           const std::vector<at::Tensor>& leaves) {
  const std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss}, leaves, /*grad_outputs=*/{}, /*retain_graph=*/false,
                            /*create_graph=*/false, /*allow_unused=*/true);
  ExampleGradient result{.loss = loss.item<double>()};
  double norm_sq = 0;
  size_t next = 0;
  for (const layout::UnitDescription& unit : description.units) {
    std::vector<at::Tensor>& of_unit = result.gradients.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      const at::Tensor gradient = parameter.trainable ? gradients[next++] : at::Tensor();
      of_unit.push_back(gradient.defined() ? gradient : at::zeros(parameter.shape, at::kDouble));
      norm_sq += of_unit.back().square().sum().item<double>();
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

UnitTensors ScaledSum(const std::vector<ExampleGradient>& examples, FactorOf factor) {
  UnitTensors sums;
  for (size_t unit = 0; unit < examples.front().gradients.size(); ++unit) {
    std::vector<at::Tensor>& of_unit = sums.emplace_back();
    for (const at::Tensor& gradient : examples.front().gradients[unit]) {
      of_unit.push_back(at::zeros_like(gradient));
    }
    for (const ExampleGradient& example : examples) {
      const double scale = factor(example, unit);
      for (size_t i = 0; i < of_unit.size(); ++i)
        of_unit[i].add_(example.gradients[unit][i], scale);
    }
  }
  return sums;
}

UnitTensors ClippedSum(const std::vector<ExampleGradient>& examples, double clip_norm) {
  return ScaledSum(examples, [&](const ExampleGradient& example, size_t) {
    return example.norm > clip_norm ? clip_norm / example.norm : 1;
  });
}

}  // namespace sotto::equivalence
