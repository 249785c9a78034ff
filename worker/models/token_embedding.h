#ifndef SOTTO_WORKER_MODELS_TOKEN_EMBEDDING_H_
#define SOTTO_WORKER_MODELS_TOKEN_EMBEDDING_H_

#include <memory>
#include <optional>

#include "worker/models/stage.h"
#include "worker/models/tied_state.h"
#include "worker/nn/embedding.h"

namespace sotto::models {

// Token embedding, with learned positions where the model has them: [B, T] to [B, T, D].
class TokenEmbedding final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::EmbeddingOptions tokens;
    std::optional<nn::EmbeddingOptions> positions;
    std::shared_ptr<const TiedState> tied;  // null: the head has its own weight
  };

  explicit TokenEmbedding(const Options& options);

  int unit() const override { return options_.unit; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  at::Tensor Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                   const at::Tensor& input) override;
  void Release() override;

 private:
  const Options options_;
  const std::unique_ptr<nn::Layer> tokens_;
  const std::unique_ptr<nn::Layer> positions_;  // null: none
  nn::SavedInput kept_tokens_;
  nn::SavedInput kept_positions_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TOKEN_EMBEDDING_H_
