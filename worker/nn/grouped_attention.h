#ifndef SOTTO_WORKER_NN_GROUPED_ATTENTION_H_
#define SOTTO_WORKER_NN_GROUPED_ATTENTION_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "worker/nn/rotary.h"

namespace sotto::nn {

// Softmax attention over separate projections. Each group of heads /
// key_value_heads consecutive query heads shares one head of keys and values. No parameters.
// Neither pass forms T x T scores.
class GroupedAttention {
 public:
  struct Options {
    int64_t heads = 1;
    int64_t key_value_heads = 1;  // divides heads
    int64_t head_width = 0;
    bool causal = true;
    double scale = 0;  // of the scores; 0: 1/sqrt(head_width)
  };
  // What surrounds the projections of one call. Borrowed.
  struct Context {
    const RotaryTable* rotary = nullptr;  // turns queries and keys; null: not at all
    // [B, T] float32: 1 where a key may be attended to, 0 at padding. Undefined: every key. An
    // example without any key is not masked at all.
    at::Tensor key_mask_BT;
  };
  struct Saved {
    at::Tensor queries, keys, values;  // [B, heads, T, head_width], turned, repeated
    at::Tensor bias;                   // of the scores: [B, 1, 1, T] or undefined
    at::Tensor output;                 // [B, heads, T, head_width], strided
    at::Tensor logsumexp;              // [B, heads, T]
  };
  struct Grads {
    at::Tensor queries, keys, values;  // like the projections, contiguous
  };

  explicit GroupedAttention(const Options& options) : options_(options) {}

  // Queries [B, T, heads * head_width], keys and values [B, T, key_value_heads * head_width],
  // contiguous. Returns [B, T, heads * head_width], contiguous.
  at::Tensor Forward(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const Context& context, Saved* saved) const;

  Grads Backward(const Saved& saved, const at::Tensor& output_grads, const Context& context) const;

 private:
  const Options options_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_GROUPED_ATTENTION_H_
