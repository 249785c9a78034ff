// The gradient of a loss that is written down as a function of named parameters.
#ifndef SOTTO_TOOLS_CHECK_AUTOGRAD_GRADIENT_H_
#define SOTTO_TOOLS_CHECK_AUTOGRAD_GRADIENT_H_

#include <map>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/example_gradient.h"

namespace sotto::check {

// By canonical name, float64, with gradients on where they are trained. The weight of a linear map
// [O, I] with an adapter is that of both together.
using NamedTensors = std::map<std::string, at::Tensor>;

// Frozen parameters, and those on which the loss does not depend, have gradient zero.
equivalence::ExampleGradient AutogradOf(
    const layout::ModelDescription& description, const equivalence::UnitTensors& parameters,
    absl::FunctionRef<at::Tensor(const NamedTensors& named)> loss);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_AUTOGRAD_GRADIENT_H_
