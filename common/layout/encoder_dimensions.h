#ifndef SOTTO_COMMON_LAYOUT_ENCODER_DIMENSIONS_H_
#define SOTTO_COMMON_LAYOUT_ENCODER_DIMENSIONS_H_

#include <cstdint>

namespace sotto::layout {

// A bidirectional transformer with a classification head: learned positions, pre-norm blocks
// without biases in their linear maps, final LayerNorm, mean over the tokens, linear head.
struct EncoderDimensions {
  int64_t vocabulary_size = 0;
  int64_t width = 0;  // d, divisible by heads
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t mlp_width = 0;   // 0: 4 width
  int64_t max_length = 0;  // learned positions
  int64_t classes = 0;
  double layer_norm_epsilon = 1e-5;
  double init_stddev = 0.02;

  friend bool operator==(const EncoderDimensions&, const EncoderDimensions&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_ENCODER_DIMENSIONS_H_
