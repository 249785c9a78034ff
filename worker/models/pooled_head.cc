#include "worker/models/pooled_head.h"

#include "ATen/ops/empty.h"
#include "ATen/ops/full.h"
#include "ATen/ops/zeros.h"
#include "common/base/log.h"
#include "worker/nn/cross_entropy.h"
#include "worker/nn/float32.h"
#include "worker/nn/squared_error.h"

namespace sotto::models {
namespace {

at::Tensor TokenWeights(const MicroBatch& batch, const at::Tensor& values_BTD) {
  const int64_t tokens = values_BTD.size(1);
  if (!batch.token_mask_BT.defined()) {
    return at::full({values_BTD.size(0), tokens, 1}, 1.0 / static_cast<double>(tokens),
                    values_BTD.scalar_type());
  }
  const at::Tensor counts = batch.token_mask_BT.sum(1, /*keepdim=*/true).clamp_min(1);
  return batch.token_mask_BT.div(counts).unsqueeze(2).to(values_BTD.scalar_type());
}

std::optional<nn::LayerNorm> MakeNorm(const std::optional<nn::LayerNorm::Options>& options) {
  if (!options.has_value()) return std::nullopt;
  return std::optional<nn::LayerNorm>(std::in_place, *options);
}

// Overwrites the outputs with their gradient and returns the losses.
at::Tensor LossWithGradient(layout::Loss loss, const MicroBatch& batch, const at::Tensor& outputs) {
  const at::Tensor losses_B = at::empty({outputs.size(0)}, outputs.options());
  if (loss == layout::Loss::kClassification) {
    SOTTO_CHECK(batch.labels_B.defined()) << "a classifier's micro-batches carry labels";
    nn::LabelCrossEntropyWithGradient(outputs, batch.labels_B, losses_B);
  } else {
    SOTTO_CHECK(batch.targets_BK.defined()) << "a regression's micro-batches carry targets";
    nn::SquaredErrorWithGradient(outputs, batch.targets_BK, batch.example_ids, losses_B);
  }
  return losses_B;
}

}  // namespace

PooledHead::PooledHead(const Options& options)
    : options_(options), norm_(MakeNorm(options.norm)), head_(options.head) {}

at::Tensor PooledHead::Norm(absl::Span<const at::Tensor> parameters, const at::Tensor& values) {
  return norm_.has_value() ? norm_->Forward(parameters, values, &kept_norm_) : values;
}

at::Tensor PooledHead::NormBackward(absl::Span<const at::Tensor> parameters,
                                    const at::Tensor& grads, nn::GradientSink& sink) const {
  return norm_.has_value() ? nn::BackwardThrough(*norm_, parameters, kept_norm_, grads, sink)
                           : grads;
}

at::Tensor PooledHead::Pool(const MicroBatch& batch, const at::Tensor& values) {
  pooled_sizes_ = values.sizes().vec();
  switch (options_.pooling) {
    case Pooling::kTokens:
      pooling_BT1_ = TokenWeights(batch, values);
      return values.mul(pooling_BT1_).sum(1, /*keepdim=*/true);
    case Pooling::kFirstToken:
      return values.narrow(1, 0, 1).contiguous();
    case Pooling::kImage:
      return values.flatten(2).mean(2).unsqueeze(1);
  }
  return values;
}

at::Tensor PooledHead::PoolBackward(const at::Tensor& grads_B1D) const {
  if (options_.pooling == Pooling::kTokens) return grads_B1D.mul(pooling_BT1_);
  const at::Tensor grads = at::zeros(pooled_sizes_, grads_B1D.options());
  if (options_.pooling == Pooling::kFirstToken) {
    grads.narrow(1, 0, 1).copy_(grads_B1D);
  } else {
    const auto positions = static_cast<double>(pooled_sizes_[2] * pooled_sizes_[3]);
    grads.copy_(grads_B1D.div(positions).squeeze(1).unsqueeze(2).unsqueeze(3));
  }
  return grads;
}

at::Tensor PooledHead::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                               const at::Tensor& input) {
  const at::Tensor pooled_B1D = options_.pooling == Pooling::kTokens
                                    ? Pool(batch, Norm(parameters, input))
                                    : Norm(parameters, Pool(batch, input));
  grads_B1K_ = nn::Float32(head_.Forward(parameters, pooled_B1D.contiguous(), &kept_head_));
  if (options_.loss == layout::Loss::kClassification) {
    found_label_B_ = grads_B1K_.squeeze(1).argmax(1).eq(batch.labels_B);
  }
  return LossWithGradient(options_.loss, batch, grads_B1K_);
}

at::Tensor PooledHead::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                const at::Tensor&, nn::GradientSink& sink) {
  const at::Tensor pooled_grads =
      nn::BackwardThrough(head_, parameters, kept_head_,
                          grads_B1K_.to(parameters[options_.head.weight].scalar_type()), sink);
  if (options_.pooling == Pooling::kTokens) {
    return NormBackward(parameters, PoolBackward(pooled_grads), sink);
  }
  return PoolBackward(NormBackward(parameters, pooled_grads, sink));
}

void PooledHead::Release() {
  pooling_BT1_.reset();
  kept_norm_ = {};
  kept_head_ = {};
  grads_B1K_.reset();
  found_label_B_.reset();
}

}  // namespace sotto::models
