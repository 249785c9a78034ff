#ifndef SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_
#define SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_

#include <cstdint>

namespace sotto::layout {

struct LlamaDimensions {
  int64_t vocabulary_size = 0;
  int64_t width = 0;  // d
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t key_value_heads = 0;  // divides heads
  int64_t head_width = 0;
  int64_t hidden = 0;  // of the MLP
  int64_t max_length = 0;
  bool tied_head = true;
  double rms_norm_epsilon = 1e-5;
  double rope_theta = 10000;
  double init_stddev = 0.02;

  friend bool operator==(const LlamaDimensions&, const LlamaDimensions&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LLAMA_DIMENSIONS_H_
