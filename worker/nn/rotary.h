#ifndef SOTTO_WORKER_NN_ROTARY_H_
#define SOTTO_WORKER_NN_ROTARY_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// Rotary positions 0 .. tokens - 1: position p turns the pair (j, j + head_width / 2) by the angle
// p * frequencies[j], in float32, and multiplies it by `magnitude`. Immutable and thread-safe.
class RotaryTable {
 public:
  // `frequencies` [head_width / 2].
  RotaryTable(absl::Span<const float> frequencies, float magnitude, int64_t tokens);

  int64_t tokens() const { return tokens_; }

  // `values` [B, T, heads, head_width], contiguous, float32 or bfloat16, T at most tokens().
  at::Tensor Turn(const at::Tensor& values) const;
  // The same where text b's first token stands at position past_B[b]; past_B[b] + T at most
  // tokens().
  at::Tensor TurnFrom(const at::Tensor& values, absl::Span<const int64_t> past_B) const;
  // The transpose of Turn.
  at::Tensor TurnBack(const at::Tensor& grads) const;

 private:
  // Empty `past_B`: every text begins at position 0.
  at::Tensor Apply(const at::Tensor& values, float direction,
                   absl::Span<const int64_t> past_B) const;

  const int64_t tokens_;
  const int64_t half_;
  std::vector<float> cosines_;  // [tokens, half]
  std::vector<float> sines_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_ROTARY_H_
