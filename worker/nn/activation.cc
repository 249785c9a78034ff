#include "worker/nn/activation.h"

#include "ATen/ops/cat.h"
#include "ATen/ops/gelu.h"
#include "ATen/ops/gelu_backward.h"
#include "ATen/ops/relu.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/silu_backward.h"
#include "ATen/ops/threshold_backward.h"
#include "common/base/log.h"

namespace sotto::nn {

at::Tensor Activate(ActivationKind kind, const at::Tensor& input) {
  switch (kind) {
    case ActivationKind::kGeluTanh:
      return at::gelu(input, "tanh");
    case ActivationKind::kGelu:
      return at::gelu(input, "none");
    case ActivationKind::kRelu:
      return at::relu(input);
    case ActivationKind::kSilu:
      return at::silu(input);
  }
  SOTTO_CHECK(false);
  return at::Tensor();
}

void ActivateBackwardInPlace(ActivationKind kind, const at::Tensor& input, at::Tensor& grads) {
  switch (kind) {
    case ActivationKind::kGeluTanh:
      at::gelu_backward_out(grads, grads, input, "tanh");
      return;
    case ActivationKind::kGelu:
      at::gelu_backward_out(grads, grads, input, "none");
      return;
    case ActivationKind::kRelu:
      at::threshold_backward_out(grads, grads, input, /*threshold=*/0);
      return;
    case ActivationKind::kSilu:
      at::silu_backward_out(grads, grads, input);
      return;
  }
  SOTTO_CHECK(false);
}

at::Tensor ActivateBackward(ActivationKind kind, const at::Tensor& input,
                            const at::Tensor& output_grads) {
  at::Tensor grads = output_grads.clone();
  ActivateBackwardInPlace(kind, input, grads);
  return grads;
}

at::Tensor Gate(ActivationKind kind, const at::Tensor& gate, const at::Tensor& up) {
  return Activate(kind, gate).mul_(up);
}

GateGrads GateBackward(ActivationKind kind, const at::Tensor& gate, const at::Tensor& up,
                       const at::Tensor& output_grads) {
  at::Tensor gate_grads = output_grads.mul(up);
  ActivateBackwardInPlace(kind, gate, gate_grads);
  return {.gate = gate_grads, .up = Activate(kind, gate).mul_(output_grads)};
}

at::Tensor Modulate(const at::Tensor& input_BTD, const at::Tensor& modulation_B12D) {
  const int64_t width = input_BTD.size(2);
  return input_BTD.mul(modulation_B12D.narrow(2, 0, width).add(1))
      .add_(modulation_B12D.narrow(2, width, width));
}

ModulateGrads ModulateBackward(const at::Tensor& input_BTD, const at::Tensor& modulation_B12D,
                               const at::Tensor& output_grads_BTD) {
  const int64_t width = input_BTD.size(2);
  return {.input = output_grads_BTD.mul(modulation_B12D.narrow(2, 0, width).add(1)),
          .modulation = at::cat({output_grads_BTD.mul(input_BTD).sum(1, /*keepdim=*/true),
                                 output_grads_BTD.sum(1, /*keepdim=*/true)},
                                2)};
}

}  // namespace sotto::nn
