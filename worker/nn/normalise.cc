#include "worker/nn/normalise.h"

#include <array>
#include <optional>
#include <tuple>

#include "ATen/ops/native_layer_norm.h"
#include "ATen/ops/native_layer_norm_backward.h"

namespace sotto::nn {

at::Tensor Normalise(const at::Tensor& input, double epsilon, NormaliseSaved* saved) {
  saved->input = input;
  at::Tensor output;
  std::tie(output, saved->mean, saved->reciprocal_std) = at::native_layer_norm(
      input, {input.size(-1)}, /*weight=*/std::nullopt, /*bias=*/std::nullopt, epsilon);
  return output;
}

at::Tensor NormaliseBackward(const NormaliseSaved& saved, const at::Tensor& output_grads) {
  return std::get<0>(at::native_layer_norm_backward(
      output_grads, saved.input, {saved.input.size(-1)}, saved.mean, saved.reciprocal_std,
      /*weight=*/std::nullopt, /*bias=*/std::nullopt, std::array<bool, 3>{true, false, false}));
}

}  // namespace sotto::nn
