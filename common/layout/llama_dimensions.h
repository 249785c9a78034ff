#ifndef SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_
#define SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_

#include <cstdint>

#include "common/layout/activation.h"
#include "common/layout/rotary.h"

namespace sotto::layout {

// Llama (Touvron et al. 2023): RMSNorm, rotary positions, grouped queries, gated MLP. With biases
// of queries, keys and values Qwen2; with norms of queries and keys Qwen3.
struct LlamaDimensions {
  int64_t vocabulary_size = 0;
  int64_t width = 0;  // d
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t key_value_heads = 0;  // 0: as many as heads; divides heads
  int64_t head_width = 0;       // 0: width / heads; even
  int64_t mlp_width = 0;
  int64_t max_length = 0;  // tokens per example at most; rotary positions need no parameters
  bool tied_head = false;
  bool query_key_value_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool query_key_norm = false;  // RMSNorm of each head's query and key, before the rotation
  Activation activation = Activation::kSilu;  // of the gate
  double rms_norm_epsilon = 1e-6;
  double init_stddev = 0.02;
  RotaryPositions rotary;

  friend bool operator==(const LlamaDimensions&, const LlamaDimensions&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_
