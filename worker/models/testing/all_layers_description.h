#ifndef SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_DESCRIPTION_H_
#define SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_DESCRIPTION_H_

#include <cstdint>

#include "common/layout/model_description.h"

namespace sotto::models {

// A small language model in which every kind of layer occurs, for tests:
//
//   unit         layers
//   root         tied embedding and head, learned positions, LayerNorm
//   convolution  untied embedding of the same tokens; conv2d with stride, padding and bias; conv2d
//   with
//                groups, without bias
//   attention    RMSNorm, linear maps without bias, rotary grouped attention, LoRA on a frozen base
//   modulation   embedding of the first token (T = 1), GroupNorm, conv2d to one position,
//   modulation
//                (one row per example), LayerNorm with frozen gain, linear with bias, linear with a
//                frozen weight
//   frozen       a linear map, nothing trainable
//   scale        RMSNorm: one parameter
//
// Position t depends on tokens up to t only, so that padding changes nothing.
struct AllLayersOptions {
  int64_t vocabulary_size = 29;
  int64_t max_length = 32;
  bool tied_head = true;  // false: the root ends with a linear head of its own

  // Of the vectors between stages, seen by convolutions as kChannels x kColumns.
  static constexpr int64_t kWidth = 16;
  static constexpr int64_t kChannels = 4;
  static constexpr int64_t kColumns = 4;
  static constexpr int64_t kHeads = 4;
  static constexpr int64_t kKeyValueHeads = 2;
  static constexpr int64_t kHeadWidth = 4;
  static constexpr int64_t kRank = 2;
  static constexpr double kLoraAlpha = 3;
  static constexpr double kEpsilon = 1e-5;  // of every norm
};

// Names, shapes and layers of all parameters; family std::monostate.
layout::ModelDescription DescribeAllLayers(const AllLayersOptions& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_DESCRIPTION_H_
