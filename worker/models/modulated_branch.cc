#include "worker/models/modulated_branch.h"

#include "ATen/ops/cat.h"
#include "worker/nn/activation.h"

namespace sotto::models {
namespace {

constexpr double kEpsilon = 1e-6;

at::Tensor ScaleAndShift(const at::Tensor& modulation_B13D) {
  return modulation_B13D.narrow(2, 0, modulation_B13D.size(2) / 3 * 2);
}

at::Tensor Gate(const at::Tensor& modulation_B13D) {
  const int64_t width = modulation_B13D.size(2) / 3;
  return modulation_B13D.narrow(2, 2 * width, width);
}

}  // namespace

at::Tensor ConditionOf(const at::Tensor& rows) { return rows.narrow(1, 0, 1).contiguous(); }

at::Tensor TokensOf(const at::Tensor& rows) {
  return rows.narrow(1, 1, rows.size(1) - 1).contiguous();
}

at::Tensor WithCondition(const at::Tensor& condition_B1D, const at::Tensor& tokens_BTD) {
  return at::cat({condition_B1D, tokens_BTD}, 1);
}

at::Tensor ModulatedBranch::Enter(const at::Tensor& tokens_BTD, const at::Tensor& modulation_B13D,
                                  Saved* saved) {
  saved->modulation_B13D = modulation_B13D;
  saved->normalised = nn::Normalise(tokens_BTD, kEpsilon, &saved->norm);
  return nn::Modulate(saved->normalised, ScaleAndShift(modulation_B13D));
}

at::Tensor ModulatedBranch::Leave(const at::Tensor& output, Saved* saved) {
  saved->output = output;
  return output.mul(Gate(saved->modulation_B13D));
}

at::Tensor ModulatedBranch::LeaveBackward(const Saved& saved, const at::Tensor& grads) {
  return grads.mul(Gate(saved.modulation_B13D));
}

ModulatedBranch::Grads ModulatedBranch::EnterBackward(const Saved& saved,
                                                      const at::Tensor& left_grads,
                                                      const at::Tensor& branch_input_grads) {
  const nn::ModulateGrads grads = nn::ModulateBackward(
      saved.normalised, ScaleAndShift(saved.modulation_B13D), branch_input_grads);
  const at::Tensor gate_grads = left_grads.mul(saved.output).sum(1, /*keepdim=*/true);
  return {.input = nn::NormaliseBackward(saved.norm, grads.input),
          .modulation_B13D = at::cat({grads.modulation, gate_grads}, 2)};
}

}  // namespace sotto::models
