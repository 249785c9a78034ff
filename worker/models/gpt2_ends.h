#ifndef SOTTO_WORKER_MODELS_GPT2_ENDS_H_
#define SOTTO_WORKER_MODELS_GPT2_ENDS_H_

#include <cstdint>
#include <memory>

#include "worker/models/model.h"
#include "worker/models/stage.h"
#include "worker/nn/embedding.h"
#include "worker/nn/layer_norm.h"

namespace sotto::models {

// What the head's backward leaves for the embedding's when they share a weight: the cross term of
// the norm.
struct TiedState {
  at::Tensor head_activations_BTD;
  at::Tensor head_grads_BTT;
};

// Token and position embedding.
class Gpt2Embedding final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::EmbeddingOptions tokens;
    nn::EmbeddingOptions positions;
    std::shared_ptr<const TiedState> tied;  // null: the head has its own weight
  };

  explicit Gpt2Embedding(const Options& options);

  int unit() const override { return options_.unit; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override;

 private:
  const Options options_;
  const std::unique_ptr<nn::Layer> tokens_;
  const nn::PositionEmbedding positions_;
  nn::SavedInput kept_tokens_;
  nn::SavedInput kept_positions_;
};

// Final LayerNorm, head and loss. The gradient of the logits is formed in forward, over the logits;
// when they exceed head_chunk_bytes, forward and backward form them for a few examples at a time.
class Gpt2Head final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LayerNorm::Options ln_f;
    nn::EmbeddingOptions weight;
    std::shared_ptr<TiedState> tied;  // null: the head has its own weight
    LossReduction loss_reduction = LossReduction::kMean;
    int64_t head_chunk_bytes = 0;
  };

  explicit Gpt2Head(const Options& options);

  int unit() const override { return options_.unit; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
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
  const nn::LayerNorm ln_f_;
  const std::unique_ptr<nn::Layer> head_;
  nn::SavedInput kept_ln_f_;
  nn::SavedInput kept_head_;
  at::Tensor weights_BT_;   // the loss mask, divided by the example's scored tokens for a mean
  at::Tensor logit_grads_;  // of the whole micro-batch, when it fits
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_GPT2_ENDS_H_
