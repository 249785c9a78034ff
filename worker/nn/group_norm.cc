#include "worker/nn/group_norm.h"

#include <array>
#include <tuple>
#include <vector>

#include "ATen/ops/native_group_norm.h"
#include "ATen/ops/native_group_norm_backward.h"
#include "ATen/ops/ones.h"
#include "worker/nn/float32.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const GroupNorm::Options& options) {
  std::vector<int> parameters;
  if (!options.gain_frozen) parameters.push_back(options.gain);
  if (!options.bias_frozen) parameters.push_back(options.bias);
  return parameters;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(const SavedInput& saved,
                                                        const at::Tensor& output_grads,
                                                        const at::Tensor& gain, int64_t groups,
                                                        const std::array<bool, 3>& wanted) {
  const at::Tensor input = Float32(saved.activations);
  const int64_t positions = input.size(2) * input.size(3);
  return at::native_group_norm_backward(Float32(output_grads), input, saved.mean_BT,
                                        saved.reciprocal_std_BT, gain, input.size(0), input.size(1),
                                        positions, groups, wanted);
}

}  // namespace

GroupNorm::GroupNorm(const Options& options)
    : Layer(ParametersOf(options), options.index), options_(options) {}

at::Tensor GroupNorm::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                              SavedInput* saved) const {
  saved->activations = input;
  auto [output, mean, reciprocal_std] =
      at::native_group_norm(Float32(input), Float32(parameters[options_.gain]),
                            Float32(parameters[options_.bias]), input.size(0), input.size(1),
                            input.size(2) * input.size(3), options_.groups, options_.epsilon);
  saved->mean_BT = mean;
  saved->reciprocal_std_BT = reciprocal_std;
  return output.to(input.scalar_type());
}

at::Tensor GroupNorm::BackwardInput(absl::Span<const at::Tensor> parameters,
                                    const SavedInput& saved, const at::Tensor& output_grads) const {
  return std::get<0>(Backward(saved, output_grads, Float32(parameters[options_.gain]),
                              options_.groups, {true, false, false}))
      .to(output_grads.scalar_type());
}

void GroupNorm::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                           const at::Tensor& coefficients_B,
                           absl::Span<const at::Tensor> gradients) const {
  if (output_grads.size(0) == 0) return;
  const at::Tensor grads = Float32(output_grads);
  // The gain's own gradient does not depend on the gain, but takes its shape.
  const auto [unused, gain, bias] = Backward(
      saved, coefficients_B.defined() ? grads.mul(coefficients_B.view({-1, 1, 1, 1})) : grads,
      /*gain=*/at::ones({saved.activations.size(1)}), options_.groups, {false, true, true});
  if (!options_.gain_frozen) at::Tensor(gradients[options_.gain]).add_(gain);
  if (!options_.bias_frozen) at::Tensor(gradients[options_.bias]).add_(bias);
}

std::vector<std::vector<int64_t>> GroupNorm::GradientShapes(const SavedInput& saved,
                                                            const at::Tensor&) const {
  return std::vector<std::vector<int64_t>>(parameters().size(), {saved.activations.size(1)});
}

}  // namespace sotto::nn
