#include "worker/models/dit_embedding.h"

#include <utility>

#include "common/base/log.h"
#include "worker/models/modulated_branch.h"
#include "worker/models/patches.h"

namespace sotto::models {
namespace {

std::optional<nn::Embedding> MakeClasses(const std::optional<nn::EmbeddingOptions>& options) {
  if (!options.has_value()) return std::nullopt;
  return std::optional<nn::Embedding>(std::in_place, *options);
}

}  // namespace

DitEmbedding::DitEmbedding(const Options& options)
    : patch_size_(options.patch_size),
      width_(options.width),
      diffusion_(options.time_steps),
      patches_(options.patches),
      positions_(options.positions),
      time_(options.time),
      classes_(MakeClasses(options.classes)) {}

at::Tensor DitEmbedding::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                 const at::Tensor&) {
  SOTTO_CHECK(batch.noise_BCHW.defined() && batch.time_steps_B.defined())
      << "a diffusion's micro-batches carry noise and time steps";
  const at::Tensor noised =
      diffusion_.Noised(batch.values_BCHW, batch.noise_BCHW, batch.time_steps_B);
  const at::Tensor patches =
      patches_.Forward(parameters, Patches(noised, patch_size_), &kept_.patches);
  at::Tensor condition =
      time_.Forward(parameters, TimeFeatures(batch.time_steps_B, width_), &kept_.time);
  if (classes_.has_value()) {
    // Dummies have no class; any does for them.
    condition = condition.add(
        classes_->Forward(parameters, batch.labels_B.clamp_min(0).unsqueeze(1), &kept_.classes));
  }
  return WithCondition(condition, positions_.Forward(parameters, patches, &kept_.positions));
}

at::Tensor DitEmbedding::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                  const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor token_grads = TokensOf(output_grads);
  const at::Tensor condition_grads = ConditionOf(output_grads);
  nn::BackwardThrough(positions_, parameters, kept_.positions, token_grads, sink);
  if (classes_.has_value()) {
    nn::BackwardThrough(*classes_, parameters, kept_.classes, condition_grads, sink);
  }
  time_.Backward(parameters, kept_.time, condition_grads, sink);
  nn::BackwardThrough(patches_, parameters, kept_.patches, token_grads, sink);
  return at::Tensor();
}

}  // namespace sotto::models
