// Models of images and vectors as units: the root, then one unit per layer, stage or block.
#ifndef SOTTO_COMMON_LAYOUT_IMAGE_DESCRIPTIONS_H_
#define SOTTO_COMMON_LAYOUT_IMAGE_DESCRIPTIONS_H_

#include "absl/status/statusor.h"
#include "common/layout/image_dimensions.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// All functions: linear weights are [out, in] and followed by their bias. The family's dimensions
// have their zeros (mlp_width) replaced. The vocabulary has size 0. INVALID_ARGUMENT: a dimension
// out of its range, outputs below 2 for classification.

// Root: head. Block i: layers.i, a linear map and the activation behind it.
absl::StatusOr<ModelDescription> MakeMlpDescription(const MlpDimensions& dimensions);

// Root: head. Block i: stages.i.{conv_1, norm_1, conv_2, norm_2}; convolutions [out, in, 3, 3]
// without bias. INVALID_ARGUMENT besides: groups that do not divide a stage's channels.
absl::StatusOr<ModelDescription> MakeCnnDescription(const CnnDimensions& dimensions);

// Root: patches [d, channels * patch * patch], class_token.weight [1, d], positions.weight
// [patches + 1, d], norm, head. Block i: blocks.i.{norm_1, attention.qkv, attention.output, norm_2,
// mlp.up, mlp.down}. INVALID_ARGUMENT besides: a patch that does not divide the image, heads that
// do not divide the width.
absl::StatusOr<ModelDescription> MakeVitDescription(const VitDimensions& dimensions);

// Root: patches, positions.weight [patches, d], time.up, time.down, with classes
// classes.weight [classes, d], final.modulation [2d, d], final.projection. Block i:
// blocks.i.modulation [6d, d], attention.qkv, attention.output, mlp.up, mlp.down. Modulations and
// final.projection begin as zeros. INVALID_ARGUMENT besides: as a ViT; an odd width.
absl::StatusOr<ModelDescription> MakeDitDescription(const DitDimensions& dimensions);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_IMAGE_DESCRIPTIONS_H_
