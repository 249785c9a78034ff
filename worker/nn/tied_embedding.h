#ifndef SOTTO_WORKER_NN_TIED_EMBEDDING_H_
#define SOTTO_WORKER_NN_TIED_EMBEDDING_H_

#include "worker/nn/embedding.h"
#include "worker/nn/linear.h"

namespace sotto::nn {

// Both call sites carry the same options: one entry of UnitDescription::layers.
//
// One weight [V, D] with two call sites: the head (logits = x weight^T) and the embedding
// (weight[token]). Its gradient is the sum of both, so its norm has a cross term. In backward the
// head comes first:
//
//   norms          head: ||g_head||^2            embedding: ||g_emb||^2 + 2 <g_emb, g_head>
//   example grads  head: writes the slab,        embedding: adds its rows to the slab,
//                  norm of the other rows                   norm of the rows of the example's
//                  tokens
//
// <g_emb, g_head> = sum_{t,s} head_grads[s, t] (output_grads[t] . head_activations[s]), with
// SavedInput's head_grads.

class TiedHead final : public Layer {
 public:
  explicit TiedHead(const EmbeddingOptions& options);

  // Keeps `input` as saved->activations; the caller sets saved->tokens_BT before ExampleGrads.
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                    absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const override;

 private:
  const int weight_;
  const Linear linear_;
};

class TiedEmbedding final : public Layer {
 public:
  explicit TiedEmbedding(const EmbeddingOptions& options);

  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     SavedInput* saved) const override;
  at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                           const at::Tensor& output_grads) const override;
  // The result is rounded up by 2^-21 of the sum of the absolute terms, which covers the rounding
  // of the cross term when the call sites' gradients cancel.
  void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm form,
                        const at::Tensor& norm_sq_B) const override;
  void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                  const at::Tensor& coefficients_B,
                  absl::Span<const at::Tensor> gradients) const override;
  void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                    absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const override;

 private:
  const int weight_;
  const Embedding embedding_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_TIED_EMBEDDING_H_
