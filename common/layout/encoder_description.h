// A classifying encoder as units: the root, then one unit per transformer block.
#ifndef SOTTO_COMMON_LAYOUT_ENCODER_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_ENCODER_DESCRIPTION_H_

#include "absl/status/statusor.h"
#include "common/layout/encoder_dimensions.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// Root: tokens.weight [V, d], positions.weight [L, d], norm.weight, norm.bias [d],
// classifier.weight [classes, d]. Block i: blocks.i.norm_1, attention.qkv [3d, d],
// attention.output [d, d], norm_2, mlp.up [m, d], mlp.down [d, m]. Linear weights are [out, in],
// without biases. With d 512, 3 blocks, m 2048, vocabulary 10000, 128 positions and 10 classes:
// 14,635,008 parameters.
//
// INVALID_ARGUMENT: a dimension that is not positive (vocabulary and classes: at least 2), width
// not divisible by heads, an epsilon or standard deviation out of its range.
absl::StatusOr<ModelDescription> MakeEncoderDescription(const EncoderDimensions& dimensions);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_ENCODER_DESCRIPTION_H_
