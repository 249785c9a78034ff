#ifndef SOTTO_WORKER_NN_CACHED_ATTENTION_H_
#define SOTTO_WORKER_NN_CACHED_ATTENTION_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// Keys and values of the tokens that an attention has seen, so that later tokens need not read them
// again: float32 [B, capacity, key-value heads * head width]; text b's token at position p lies in
// row p. Undefined at first.
struct KeyValueCache {
  at::Tensor keys;
  at::Tensor values;
};

// Writes `keys` and `values` [B, T, key-value heads * head width] (float32, any strides) behind the
// first past_B[b] tokens of each text; a cache without tensors gets some for `capacity` tokens,
// which past_B[b] + T may not exceed.
void AppendToCache(const at::Tensor& keys, const at::Tensor& values,
                   absl::Span<const int64_t> past_B, int64_t capacity, KeyValueCache& cache);

struct CachedAttentionOptions {
  int64_t heads = 1;
  int64_t key_value_heads = 1;  // divides heads
  int64_t head_width = 0;
  double scale = 1;  // of the scores
};

// Causal softmax attention of T new tokens per text over a cache that holds them and the past_B[b]
// tokens before: query t of text b sees keys 0 to past_B[b] + t. `queries` [B, T, heads * head
// width], float32, contiguous, like what is returned. Each query's result is a function of its own
// text alone, with the same bits in any batch. Meant for few new tokens: CausalAttention and
// GroupedAttention are faster where a whole text is new.
at::Tensor AttendToCache(const at::Tensor& queries, absl::Span<const int64_t> past_B,
                         const KeyValueCache& cache, const CachedAttentionOptions& options);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_CACHED_ATTENTION_H_
