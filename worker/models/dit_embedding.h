#ifndef SOTTO_WORKER_MODELS_DIT_EMBEDDING_H_
#define SOTTO_WORKER_MODELS_DIT_EMBEDDING_H_

#include <optional>

#include "worker/models/diffusion.h"
#include "worker/models/feed_forward.h"
#include "worker/models/stage.h"
#include "worker/nn/embedding.h"
#include "worker/nn/linear.h"

namespace sotto::models {

// A DiT's input: the noised image's patches through a linear map, with learned positions, behind
// the example's condition: its time step through two linear maps, plus its class.
class DitEmbedding final : public Stage {
 public:
  struct Options {
    int64_t patch_size = 1;
    int64_t time_steps = 1;
    int64_t width = 0;
    nn::Linear::Options patches;
    nn::EmbeddingOptions positions;
    FeedForward::Options time;
    std::optional<nn::EmbeddingOptions> classes;
  };

  explicit DitEmbedding(const Options& options);

  int unit() const override { return 0; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput patches, positions, classes;
    FeedForward::Saved time;
  };

  const int64_t patch_size_;
  const int64_t width_;
  const Diffusion diffusion_;
  const nn::Linear patches_;
  const nn::PositionEmbedding positions_;
  const FeedForward time_;
  const std::optional<nn::Embedding> classes_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_DIT_EMBEDDING_H_
