#include "worker/models/patch_embedding.h"

#include "ATen/ops/cat.h"
#include "worker/models/patches.h"

namespace sotto::models {

PatchEmbedding::PatchEmbedding(const Options& options)
    : patch_size_(options.patch_size),
      patches_(options.patches),
      class_token_(options.class_token),
      positions_(options.positions) {}

at::Tensor PatchEmbedding::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                   const at::Tensor&) {
  const at::Tensor patches =
      patches_.Forward(parameters, Patches(batch.values_BCHW, patch_size_), &kept_.patches);
  const at::Tensor class_token =
      class_token_.Forward(parameters, batch.tokens_BT, &kept_.class_token);
  return positions_.Forward(parameters, at::cat({class_token, patches}, 1), &kept_.positions);
}

at::Tensor PatchEmbedding::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                    const at::Tensor& output_grads, nn::GradientSink& sink) {
  nn::BackwardThrough(positions_, parameters, kept_.positions, output_grads, sink);
  nn::BackwardThrough(class_token_, parameters, kept_.class_token,
                      output_grads.narrow(1, 0, 1).contiguous(), sink);
  nn::BackwardThrough(patches_, parameters, kept_.patches,
                      output_grads.narrow(1, 1, output_grads.size(1) - 1).contiguous(), sink);
  return at::Tensor();
}

}  // namespace sotto::models
