#ifndef SOTTO_WORKER_NN_EMBEDDING_H_
#define SOTTO_WORKER_NN_EMBEDDING_H_

#include "worker/nn/layer.h"

namespace sotto::nn {

struct EmbeddingOptions {
  int weight = 0;  // position in the unit's parameter list
  bool frozen = false;
  int index = 0;  // in UnitDescription::layers
};

// y[b, t] = weight[input[b, t]]; input int64 [B, T], contiguous; weight [V, D]. Held as output
// gradients: an example's gradient has at most T rows.
class Embedding final : public Layer {
 public:
  explicit Embedding(const EmbeddingOptions& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  HeldForm held_form() const override { return HeldForm::kOutputGrads; }

 private:
  const int weight_;
};

// y[b, t] = input[b, t] + weight[t]: learned positions, weight [max_length, D], T at most
// max_length.
class PositionEmbedding final : public Layer {
 public:
  explicit PositionEmbedding(const EmbeddingOptions& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  HeldForm held_form() const override { return HeldForm::kOutputGrads; }

 private:
  const int weight_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_EMBEDDING_H_
