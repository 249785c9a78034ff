#ifndef SOTTO_WORKER_NN_ATTENTION_H_
#define SOTTO_WORKER_NN_ATTENTION_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace sotto::nn {

// Causal softmax attention over a fused projection [B, T, 3 D] (queries, keys, values, each D =
// heads * head width), its scores times `scale`. No parameters. Neither pass forms T x T scores.
class CausalAttention {
 public:
  struct Saved {
    at::Tensor projection_BT3D;
    at::Tensor output;     // [B, heads, T, head width], strided
    at::Tensor logsumexp;  // [B, heads, T]
  };

  CausalAttention(int64_t heads, double scale) : heads_(heads), scale_(scale) {}

  // Returns [B, T, D], contiguous.
  at::Tensor Forward(const at::Tensor& projection_BT3D, Saved* saved) const;

  // Returns the gradient of the projection, [B, T, 3 D], contiguous.
  at::Tensor Backward(const Saved& saved, const at::Tensor& output_grads_BTD) const;

 private:
  const int64_t heads_;
  const double scale_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_ATTENTION_H_
