#ifndef SOTTO_WORKER_MODELS_PATCH_EMBEDDING_H_
#define SOTTO_WORKER_MODELS_PATCH_EMBEDDING_H_

#include "worker/models/stage.h"
#include "worker/nn/embedding.h"
#include "worker/nn/linear.h"

namespace sotto::models {

// A ViT's input: a class token, then the image's patches through a linear map, with learned
// positions. Returns [B, 1 + patches, D].
class PatchEmbedding final : public Stage {
 public:
  struct Options {
    int64_t patch_size = 1;
    nn::Linear::Options patches;
    nn::EmbeddingOptions class_token;  // a table of one row
    nn::EmbeddingOptions positions;
  };

  explicit PatchEmbedding(const Options& options);

  int unit() const override { return 0; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput patches, class_token, positions;
  };

  const int64_t patch_size_;
  const nn::Linear patches_;
  const nn::Embedding class_token_;
  const nn::PositionEmbedding positions_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_PATCH_EMBEDDING_H_
