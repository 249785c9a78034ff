#include "worker/models/dit_block.h"

#include "ATen/ops/cat.h"

namespace sotto::models {
namespace {

constexpr nn::ActivationKind kActivation = nn::ActivationKind::kSilu;

// Half 0 or 1 of a block's modulation [B, 1, 6 D].
at::Tensor Half(const at::Tensor& modulation, int64_t half) {
  const int64_t size = modulation.size(2) / 2;
  return modulation.narrow(2, half * size, size).contiguous();
}

}  // namespace

DitBlock::DitBlock(const Options& options)
    : unit_(options.unit),
      modulation_(options.modulation),
      attention_(options.attention),
      mlp_(options.mlp) {}

at::Tensor DitBlock::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                             const at::Tensor& input) {
  kept_.condition = ConditionOf(input);
  const at::Tensor tokens = TokensOf(input);
  const at::Tensor modulation = modulation_.Forward(
      parameters, nn::Activate(kActivation, kept_.condition), &kept_.modulation);
  const at::Tensor attended = attention_.Forward(
      parameters, ModulatedBranch::Enter(tokens, Half(modulation, 0), &kept_.round_attention),
      /*key_mask_BT=*/at::Tensor(), &kept_.attention);
  const at::Tensor middle = ModulatedBranch::Leave(attended, &kept_.round_attention).add_(tokens);
  const at::Tensor fed = mlp_.Forward(
      parameters, ModulatedBranch::Enter(middle, Half(modulation, 1), &kept_.round_mlp),
      &kept_.mlp);
  return WithCondition(kept_.condition, ModulatedBranch::Leave(fed, &kept_.round_mlp).add_(middle));
}

at::Tensor DitBlock::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                              const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor token_grads = TokensOf(output_grads);
  const ModulatedBranch::Grads mlp = ModulatedBranch::EnterBackward(
      kept_.round_mlp, token_grads,
      mlp_.Backward(parameters, kept_.mlp,
                    ModulatedBranch::LeaveBackward(kept_.round_mlp, token_grads), sink));
  const at::Tensor middle_grads = mlp.input.add(token_grads);
  const ModulatedBranch::Grads attention = ModulatedBranch::EnterBackward(
      kept_.round_attention, middle_grads,
      attention_.Backward(parameters, kept_.attention, /*key_mask_BT=*/at::Tensor(),
                          ModulatedBranch::LeaveBackward(kept_.round_attention, middle_grads),
                          sink));
  const at::Tensor activated_grads =
      modulation_.Backward(parameters, kept_.modulation,
                           at::cat({attention.modulation_B13D, mlp.modulation_B13D}, 2), sink);
  const at::Tensor condition_grads =
      nn::ActivateBackward(kActivation, kept_.condition, activated_grads)
          .add_(ConditionOf(output_grads));
  return WithCondition(condition_grads, attention.input.add(middle_grads));
}

}  // namespace sotto::models
