#ifndef SOTTO_WORKER_MODELS_INFERENCE_BATCH_H_
#define SOTTO_WORKER_MODELS_INFERENCE_BATCH_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "worker/nn/cached_attention.h"

namespace sotto::models {

// T new tokens of each of B texts. A text with fewer has padding behind them, which no token of its
// own sees.
struct InferenceBatch {
  at::Tensor tokens_BT;  // int64; padding holds any valid token
  // Tokens of each text that the caches hold already: the position of tokens_BT[b, 0]. Empty: none.
  std::vector<int64_t> past_B;
  // By unit; null: nothing is kept for later tokens, and past_B is empty.
  std::vector<nn::KeyValueCache>* caches = nullptr;
  int64_t capacity = 0;  // tokens that a cache has room for; past_B[b] + T at most
  // Of the last stage: positions b * T + t whose logits are wanted, int64; undefined: all.
  at::Tensor wanted;
};

// `past_B`, or as many zeros.
inline std::vector<int64_t> PastOf(const InferenceBatch& batch) {
  if (!batch.past_B.empty()) return batch.past_B;
  return std::vector<int64_t>(batch.tokens_BT.size(0), 0);
}

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_INFERENCE_BATCH_H_
