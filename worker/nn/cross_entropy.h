#ifndef SOTTO_WORKER_NN_CROSS_ENTROPY_H_
#define SOTTO_WORKER_NN_CROSS_ENTROPY_H_

#include "ATen/core/Tensor.h"

namespace sotto::nn {

// Next-token cross-entropy with its gradient, one pass over the logits. Position t of `logits_BTV`
// (float32, contiguous) predicts tokens_BT[b, t + 1] and counts with weights_BT[b, t + 1]; the last
// position counts for nothing.
//
// Overwrites the logits with the gradient of sum_b losses[b] (zero at positions of weight 0) and
// writes each example's loss, the weighted sum, to losses_B (float32, 0 without a scored token).
void CrossEntropyWithGradient(const at::Tensor& logits_BTV, const at::Tensor& tokens_BT,
                              const at::Tensor& weights_BT, const at::Tensor& losses_B);

// The cross-entropy of one label per example with its gradient. Overwrites the logits (float32
// [B, 1, classes], contiguous) with the gradient of sum_b losses[b] and writes losses_B (float32).
// `labels_B`: int64, below classes; a negative one has loss and gradient 0.
void LabelCrossEntropyWithGradient(const at::Tensor& logits_B1C, const at::Tensor& labels_B,
                                   const at::Tensor& losses_B);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_CROSS_ENTROPY_H_
