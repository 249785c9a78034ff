#include "worker/models/classification_head.h"

#include "ATen/ops/empty.h"
#include "ATen/ops/full.h"
#include "common/base/log.h"
#include "worker/nn/cross_entropy.h"
#include "worker/nn/float32.h"

namespace sotto::models {
namespace {

at::Tensor PoolingWeights(const MicroBatch& batch, at::ScalarType type) {
  const int64_t examples = batch.tokens_BT.size(0);
  const int64_t tokens = batch.tokens_BT.size(1);
  if (!batch.token_mask_BT.defined()) {
    return at::full({examples, tokens, 1}, 1.0 / static_cast<double>(tokens), type);
  }
  const at::Tensor counts = batch.token_mask_BT.sum(1, /*keepdim=*/true).clamp_min(1);
  return batch.token_mask_BT.div(counts).unsqueeze(2).to(type);
}

}  // namespace

ClassificationHead::ClassificationHead(const Options& options)
    : unit_(options.unit), norm_(options.norm), classifier_(options.classifier) {}

at::Tensor ClassificationHead::Forward(absl::Span<const at::Tensor> parameters,
                                       const MicroBatch& batch, const at::Tensor& input) {
  SOTTO_CHECK(batch.labels_B.defined()) << "a classifier's micro-batches carry labels";
  pooling_BT1_ = PoolingWeights(batch, input.scalar_type());
  const at::Tensor normalised = norm_.Forward(parameters, input, &kept_norm_);
  const at::Tensor pooled_B1D = normalised.mul(pooling_BT1_).sum(1, /*keepdim=*/true);
  logit_grads_ =
      nn::Float32(classifier_.Forward(parameters, pooled_B1D.contiguous(), &kept_classifier_));
  const at::Tensor losses_B = at::empty({input.size(0)}, logit_grads_.options().dtype(at::kFloat));
  nn::LabelCrossEntropyWithGradient(logit_grads_, batch.labels_B, losses_B);
  return losses_B;
}

at::Tensor ClassificationHead::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                        const at::Tensor&, nn::GradientSink& sink) {
  const at::Tensor pooled_grads = nn::BackwardThrough(
      classifier_, parameters, kept_classifier_, logit_grads_.to(pooling_BT1_.scalar_type()), sink);
  const at::Tensor normalised_grads = pooled_grads.mul(pooling_BT1_);
  return nn::BackwardThrough(norm_, parameters, kept_norm_, normalised_grads, sink);
}

void ClassificationHead::Release() {
  kept_norm_ = {};
  kept_classifier_ = {};
  pooling_BT1_.reset();
  logit_grads_.reset();
}

}  // namespace sotto::models
