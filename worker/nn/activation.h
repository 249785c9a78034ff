#ifndef SOTTO_WORKER_NN_ACTIVATION_H_
#define SOTTO_WORKER_NN_ACTIVATION_H_

#include "ATen/core/Tensor.h"

namespace sotto::nn {

// Functions without parameters, element by element.

enum class ActivationKind {
  kGeluTanh,
  kGelu,  // with the error function
  kRelu,
  kSilu,
};

at::Tensor Activate(ActivationKind kind, const at::Tensor& input);

// The gradient of `input`.
at::Tensor ActivateBackward(ActivationKind kind, const at::Tensor& input,
                            const at::Tensor& output_grads);

// Replaces the gradient of the output by that of `input`.
void ActivateBackwardInPlace(ActivationKind kind, const at::Tensor& input, at::Tensor& grads);

// activate(gate) * up: with kSilu, SwiGLU.
at::Tensor Gate(ActivationKind kind, const at::Tensor& gate, const at::Tensor& up);

struct GateGrads {
  at::Tensor gate;
  at::Tensor up;
};
GateGrads GateBackward(ActivationKind kind, const at::Tensor& gate, const at::Tensor& up,
                       const at::Tensor& output_grads);

// x * (1 + scale) + shift, one scale and one shift per example: x [B, T, D], modulation [B, 1, 2 D]
// (scale, then shift), the output of a linear layer with one row per example.
at::Tensor Modulate(const at::Tensor& input_BTD, const at::Tensor& modulation_B12D);

struct ModulateGrads {
  at::Tensor input;       // [B, T, D]
  at::Tensor modulation;  // [B, 1, 2 D]
};
ModulateGrads ModulateBackward(const at::Tensor& input_BTD, const at::Tensor& modulation_B12D,
                               const at::Tensor& output_grads_BTD);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_ACTIVATION_H_
