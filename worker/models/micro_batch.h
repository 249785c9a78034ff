#ifndef SOTTO_WORKER_MODELS_MICRO_BATCH_H_
#define SOTTO_WORKER_MODELS_MICRO_BATCH_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace sotto::models {

// One forward/backward on a rank: B examples padded to T tokens. Images and vectors are examples of
// one token, 0, that is not scored.
struct MicroBatch {
  at::Tensor tokens_BT;     // int64; padding holds any valid token
  at::Tensor loss_mask_BT;  // float32, 0 or 1. Position t scores the prediction of tokens_BT[b, t]
                            // from what precedes it. Position 0 is never scored, padding is 0; a
                            // dummy example is 0 everywhere.
  std::vector<int64_t> example_ids;  // [B]; -1 for a dummy
  // Of classification; undefined elsewhere.
  at::Tensor labels_B;       // int64; the example's class, -1 for none: its loss is 0
  at::Tensor token_mask_BT;  // float32, 1 for the example's own tokens, 0 for padding; undefined:
                             // there is no padding
  // Of images [channels, height, width] and vectors [1, 1, values]; undefined elsewhere.
  at::Tensor values_BCHW;   // float32
  at::Tensor targets_BK;    // float32; what a model shall predict; undefined: labels are
  at::Tensor noise_BCHW;    // float32; of diffusion: what is added and shall be predicted
  at::Tensor time_steps_B;  // int64; of diffusion: how much of it, from 0
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_MICRO_BATCH_H_
