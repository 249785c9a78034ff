#include "worker/models/dit_head.h"

#include "ATen/ops/empty.h"
#include "worker/models/modulated_branch.h"
#include "worker/models/patches.h"
#include "worker/nn/activation.h"
#include "worker/nn/float32.h"
#include "worker/nn/squared_error.h"

namespace sotto::models {
namespace {

constexpr nn::ActivationKind kActivation = nn::ActivationKind::kSilu;
constexpr double kEpsilon = 1e-6;

}  // namespace

DitHead::DitHead(const Options& options)
    : patch_size_(options.patch_size),
      modulation_(options.modulation),
      projection_(options.projection) {}

at::Tensor DitHead::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                            const at::Tensor& input) {
  kept_.condition = ConditionOf(input);
  kept_.modulation = modulation_.Forward(parameters, nn::Activate(kActivation, kept_.condition),
                                         &kept_.modulation_input);
  kept_.normalised = nn::Normalise(TokensOf(input), kEpsilon, &kept_.norm);
  kept_.output_grads = nn::Float32(projection_.Forward(
      parameters, nn::Modulate(kept_.normalised, kept_.modulation), &kept_.projection_input));
  const at::Tensor losses_B = at::empty({input.size(0)}, kept_.output_grads.options());
  nn::SquaredErrorWithGradient(kept_.output_grads, Patches(batch.noise_BCHW, patch_size_),
                               batch.example_ids, losses_B);
  return losses_B;
}

at::Tensor DitHead::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                             const at::Tensor&, nn::GradientSink& sink) {
  const at::Tensor modulated_grads =
      nn::BackwardThrough(projection_, parameters, kept_.projection_input,
                          kept_.output_grads.to(kept_.modulation.scalar_type()), sink);
  const nn::ModulateGrads grads =
      nn::ModulateBackward(kept_.normalised, kept_.modulation, modulated_grads);
  const at::Tensor activated_grads =
      nn::BackwardThrough(modulation_, parameters, kept_.modulation_input, grads.modulation, sink);
  return WithCondition(nn::ActivateBackward(kActivation, kept_.condition, activated_grads),
                       nn::NormaliseBackward(kept_.norm, grads.input));
}

}  // namespace sotto::models
