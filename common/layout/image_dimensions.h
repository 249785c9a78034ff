// Dimensions of the models of images and vectors. A record has one length: 1.
#ifndef SOTTO_COMMON_LAYOUT_IMAGE_DIMENSIONS_H_
#define SOTTO_COMMON_LAYOUT_IMAGE_DIMENSIONS_H_

#include <cstdint>
#include <vector>

#include "common/layout/activation.h"

namespace sotto::layout {

// What a model of images or vectors is trained on.
enum class Loss {
  kClassification,    // cross entropy of the record's label
  kMeanSquaredError,  // mean over the record's target values
};

// Linear layers with an activation between them.
struct MlpDimensions {
  int64_t inputs = 0;                  // values per record
  std::vector<int64_t> hidden_widths;  // empty: one linear map
  int64_t outputs = 0;                 // classes, or target values
  Activation activation = Activation::kRelu;
  Loss loss = Loss::kClassification;

  friend bool operator==(const MlpDimensions&, const MlpDimensions&) = default;
};

// Stages of two 3 x 3 convolutions with GroupNorm, the second one round a shortcut; mean over the
// positions; linear head. A stage halves height and width, rounded up, but for the first.
struct CnnDimensions {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  std::vector<int64_t> stage_channels;
  int64_t groups = 8;  // divides every stage's channels
  int64_t outputs = 0;
  Loss loss = Loss::kClassification;

  // Positions of a stage's outputs.
  int64_t StageHeight(int64_t stage) const { return Halved(height, stage); }
  int64_t StageWidth(int64_t stage) const { return Halved(width, stage); }

  friend bool operator==(const CnnDimensions&, const CnnDimensions&) = default;

 private:
  static int64_t Halved(int64_t extent, int64_t times) {
    for (; times > 0; --times) extent = (extent + 1) / 2;
    return extent;
  }
};

// Square patches of a square image.
struct PatchGrid {
  int64_t channels = 0;
  int64_t image_size = 0;  // pixels of a side
  int64_t patch_size = 0;  // divides image_size

  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
  int64_t patch_values() const { return channels * patch_size * patch_size; }

  friend bool operator==(const PatchGrid&, const PatchGrid&) = default;
};

// Vision transformer (Dosovitskiy et al. 2021): patches, a class token, learned positions, pre-norm
// blocks, final norm of the class token, linear head.
struct VitDimensions {
  PatchGrid grid;
  int64_t width = 0;  // d, divisible by heads
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t mlp_width = 0;  // 0: 4 width
  int64_t outputs = 0;
  double layer_norm_epsilon = 1e-6;
  double init_stddev = 0.02;
  Loss loss = Loss::kClassification;

  friend bool operator==(const VitDimensions&, const VitDimensions&) = default;
};

// Diffusion transformer (Peebles & Xie 2023): patches of a noised image, learned positions, blocks
// that time step and class modulate (adaLN-zero); predicts the noise.
struct DitDimensions {
  PatchGrid grid;
  int64_t width = 0;  // d, divisible by heads; even
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t mlp_width = 0;  // 0: 4 width
  int64_t classes = 0;    // 0: unconditional
  int64_t time_steps = 1000;
  double init_stddev = 0.02;

  friend bool operator==(const DitDimensions&, const DitDimensions&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_IMAGE_DIMENSIONS_H_
