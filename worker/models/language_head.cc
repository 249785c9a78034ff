#include "worker/models/language_head.h"

#include <algorithm>

#include "ATen/ops/empty.h"
#include "ATen/ops/gather.h"
#include "worker/nn/cross_entropy.h"
#include "worker/nn/float32.h"
#include "worker/nn/linear.h"
#include "worker/nn/tied_embedding.h"

namespace sotto::models {
namespace {

std::unique_ptr<nn::Layer> MakeHead(const LanguageHead::Options& options) {
  if (options.tied != nullptr) return std::make_unique<nn::TiedHead>(options.weight);
  return std::make_unique<nn::Linear>(
      nn::Linear::Options{.weight = options.weight.weight,
                          .weight_layout = nn::Linear::WeightLayout::kOutputInput,
                          .weight_frozen = options.weight.frozen,
                          .index = options.weight.index});
}

std::unique_ptr<nn::Layer> MakeNorm(const LanguageHead::Options& options) {
  if (const auto* rms = std::get_if<nn::RmsNorm::Options>(&options.norm)) {
    return std::make_unique<nn::RmsNorm>(*rms);
  }
  return std::make_unique<nn::LayerNorm>(std::get<nn::LayerNorm::Options>(options.norm));
}

}  // namespace

LanguageHead::LanguageHead(const Options& options)
    : options_(options), norm_(MakeNorm(options)), head_(MakeHead(options)) {}

int64_t LanguageHead::ExamplesAtOnce(const MicroBatch& batch, int64_t vocabulary) const {
  const int64_t example_bytes =
      std::max<int64_t>(1, batch.tokens_BT.size(1) * vocabulary * int64_t{sizeof(float)});
  return std::clamp<int64_t>(options_.head_chunk_bytes / example_bytes, 1,
                             std::max<int64_t>(1, batch.tokens_BT.size(0)));
}

at::Tensor LanguageHead::LogitGrads(absl::Span<const at::Tensor> parameters, const Range& range,
                                    const at::Tensor& losses_B) const {
  nn::SavedInput unused;
  const at::Tensor logits = nn::Float32(head_->Forward(parameters, range.activations_BTD, &unused));
  nn::CrossEntropyWithGradient(logits, range.tokens_BT, range.weights_BT, losses_B);
  return logits.to(range.activations_BTD.scalar_type());
}

LanguageHead::Range LanguageHead::RangeOf(const MicroBatch& batch, int64_t begin,
                                          int64_t count) const {
  return {.activations_BTD = kept_head_.activations.narrow(0, begin, count),
          .tokens_BT = batch.tokens_BT.narrow(0, begin, count),
          .weights_BT = weights_BT_.narrow(0, begin, count)};
}

at::Tensor LanguageHead::HeadBackward(absl::Span<const at::Tensor> parameters,
                                      const MicroBatch& batch, const nn::SavedInput& part,
                                      const at::Tensor& logit_grads, nn::GradientSink& sink) const {
  const Range range = RangeOf(batch, part.first_example, logit_grads.size(0));
  const auto again = [this, range](absl::Span<const at::Tensor> gathered) {
    return LogitGrads(gathered, range,
                      at::empty({range.tokens_BT.size(0)}, range.weights_BT.options()));
  };
  if (options_.tied != nullptr && !head_->parameters().empty() && sink.needs_cross_term(*head_)) {
    KeepCrossTerm(batch, part, logit_grads);
  }
  return nn::HeadBackwardThrough(*head_, parameters, part, logit_grads, sink, again);
}

at::Tensor LanguageHead::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                 const at::Tensor& input) {
  weights_BT_ = batch.loss_mask_BT;
  if (options_.loss_reduction == LossReduction::kMean) {
    weights_BT_ = weights_BT_.div(weights_BT_.sum(1, /*keepdim=*/true).clamp_min(1));
  }
  kept_head_ = {.activations = norm_->Forward(parameters, input, &kept_norm_),
                .tokens_BT = batch.tokens_BT};
  const int64_t examples = batch.tokens_BT.size(0);
  const int64_t at_once = ExamplesAtOnce(batch, parameters[options_.weight.weight].size(0));
  const at::Tensor losses_B = at::empty({examples}, batch.loss_mask_BT.options());
  for (int64_t begin = 0; begin < examples; begin += at_once) {
    const int64_t count = std::min(at_once, examples - begin);
    const at::Tensor grads =
        LogitGrads(parameters, RangeOf(batch, begin, count), losses_B.narrow(0, begin, count));
    if (count == examples) logit_grads_ = grads;
  }
  return losses_B;
}

at::Tensor LanguageHead::Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                               const at::Tensor& input) {
  nn::SavedInput unused;
  at::Tensor rows = input.reshape({1, input.size(0) * input.size(1), input.size(2)});
  if (batch.wanted.defined()) rows = rows.index_select(1, batch.wanted);
  const at::Tensor normalised = norm_->Forward(parameters, rows, &unused);
  return nn::Float32(head_->Forward(parameters, normalised, &unused)).squeeze(0);
}

void LanguageHead::KeepCrossTerm(const MicroBatch& batch, const nn::SavedInput& part,
                                 const at::Tensor& logit_grads) const {
  TiedState& tied = *options_.tied;
  const int64_t tokens = batch.tokens_BT.size(1);
  const int64_t kept_per_row = std::min(tokens, logit_grads.size(2));
  if (part.first_example == 0) {
    tied.head_activations_BTD = kept_head_.activations;
    tied.head_grads =
        at::empty({batch.tokens_BT.size(0), tokens, kept_per_row}, logit_grads.options());
  }
  const int64_t count = logit_grads.size(0);
  at::Tensor kept = tied.head_grads.narrow(0, part.first_example, count);
  if (kept_per_row < tokens) {
    kept.copy_(logit_grads);
    return;
  }
  at::gather_out(kept, logit_grads, 2, part.tokens_BT.unsqueeze(1).expand({count, tokens, tokens}));
}

at::Tensor LanguageHead::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                  const at::Tensor&, nn::GradientSink& sink) {
  const int64_t examples = batch.tokens_BT.size(0);
  const int64_t at_once = ExamplesAtOnce(batch, parameters[options_.weight.weight].size(0));
  const at::Tensor losses_B = at::empty({examples}, weights_BT_.options());
  at::Tensor activation_grads;
  for (int64_t begin = 0; begin < examples; begin += at_once) {
    const int64_t count = std::min(at_once, examples - begin);
    const at::Tensor grads = logit_grads_.defined()
                                 ? logit_grads_
                                 : LogitGrads(parameters, RangeOf(batch, begin, count),
                                              losses_B.narrow(0, begin, count));
    const nn::SavedInput part = nn::SliceExamples(kept_head_, begin, count);
    const at::Tensor part_grads = HeadBackward(parameters, batch, part, grads, sink);
    if (count == examples) {
      activation_grads = part_grads;
      break;
    }
    if (begin == 0) {
      activation_grads = at::empty(kept_head_.activations.sizes(), part_grads.options());
    }
    activation_grads.narrow(0, begin, count).copy_(part_grads);
  }
  if (!sink.needs_another_pass()) logit_grads_.reset();
  return nn::BackwardThrough(*norm_, parameters, kept_norm_, activation_grads, sink);
}

void LanguageHead::Release() {
  kept_norm_ = {};
  kept_head_ = {};
  weights_BT_.reset();
  logit_grads_.reset();
  if (options_.tied != nullptr) *options_.tied = {};
}

}  // namespace sotto::models
