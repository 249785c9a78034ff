#ifndef SOTTO_WORKER_MODELS_MODULATED_BRANCH_H_
#define SOTTO_WORKER_MODELS_MODULATED_BRANCH_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "worker/nn/normalise.h"

namespace sotto::models {

// How a DiT's blocks and head see their input: rows [B, 1 + T, D], of which the first is the
// example's condition (time step and class), carried along unchanged.
at::Tensor ConditionOf(const at::Tensor& rows);
at::Tensor TokensOf(const at::Tensor& rows);
at::Tensor WithCondition(const at::Tensor& condition_B1D, const at::Tensor& tokens_BTD);

// What stands round one branch of a block: gate * branch((1 + scale) norm(x) + shift). No
// parameters; scale, shift and gate are one row per example, [B, 1, 3 D] in this order.
class ModulatedBranch {
 public:
  struct Saved {
    nn::NormaliseSaved norm;
    at::Tensor normalised, modulation_B13D, output;
  };
  struct Grads {
    at::Tensor input;            // [B, T, D], through norm and branch
    at::Tensor modulation_B13D;  // whole
  };

  // The branch's input.
  static at::Tensor Enter(const at::Tensor& tokens_BTD, const at::Tensor& modulation_B13D,
                          Saved* saved);
  // Of the branch's output; keeps it.
  static at::Tensor Leave(const at::Tensor& output, Saved* saved);

  // The gradient of the branch's output, and with that of its input the rest.
  static at::Tensor LeaveBackward(const Saved& saved, const at::Tensor& grads);
  static Grads EnterBackward(const Saved& saved, const at::Tensor& left_grads,
                             const at::Tensor& branch_input_grads);
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_MODULATED_BRANCH_H_
