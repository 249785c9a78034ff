#include "tools/check/autograd_gradient.h"

#include <vector>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

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
  return equivalence::GradientOf(description, loss(named), leaves);
}

}  // namespace sotto::check
