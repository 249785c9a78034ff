#ifndef SOTTO_WORKER_MODELS_LANGUAGE_HEAD_H_
#define SOTTO_WORKER_MODELS_LANGUAGE_HEAD_H_

#include <cstdint>
#include <memory>
#include <variant>

#include "worker/models/loss_reduction.h"
#include "worker/models/stage.h"
#include "worker/models/tied_state.h"
#include "worker/nn/embedding.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// Final norm, head and next-token loss. The gradient of the logits is formed in forward, over the
// logits; when they exceed head_chunk_bytes, forward and backward form them for a few examples at a
// time.
class LanguageHead final : public Stage {
 public:
  struct Options {
    int unit = 0;
    std::variant<nn::LayerNorm::Options, nn::RmsNorm::Options> norm;
    nn::EmbeddingOptions weight;
    std::shared_ptr<TiedState> tied;  // null: the head has its own weight
    LossReduction loss_reduction = LossReduction::kMean;
    int64_t head_chunk_bytes = 0;
  };

  explicit LanguageHead(const Options& options);

  int unit() const override { return options_.unit; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  at::Tensor Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                   const at::Tensor& input) override;
  void Release() override;

 private:
  // What the logits' gradient of some examples is formed from.
  struct Range {
    at::Tensor activations_BTD;
    at::Tensor tokens_BT;
    at::Tensor weights_BT;
  };

  // The gradient of the range's logits; writes its losses.
  at::Tensor LogitGrads(absl::Span<const at::Tensor> parameters, const Range& range,
                        const at::Tensor& losses_B) const;
  Range RangeOf(const MicroBatch& batch, int64_t begin, int64_t count) const;
  at::Tensor HeadBackward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                          const nn::SavedInput& part, const at::Tensor& logit_grads,
                          nn::GradientSink& sink) const;
  int64_t ExamplesAtOnce(const MicroBatch& batch, int64_t vocabulary) const;
  void KeepCrossTerm(const MicroBatch& batch, const nn::SavedInput& part,
                     const at::Tensor& logit_grads) const;

  const Options options_;
  const std::unique_ptr<nn::Layer> norm_;
  const std::unique_ptr<nn::Layer> head_;
  nn::SavedInput kept_norm_;
  nn::SavedInput kept_head_;
  at::Tensor weights_BT_;   // the loss mask, divided by the example's scored tokens for a mean
  at::Tensor logit_grads_;  // of the whole micro-batch, when it fits
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LANGUAGE_HEAD_H_
