#ifndef SOTTO_WORKER_MODELS_ENCODER_BLOCKS_H_
#define SOTTO_WORKER_MODELS_ENCODER_BLOCKS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"
#include "worker/models/stage.h"

namespace sotto::models {

// What the blocks of a classifying encoder and of a ViT share.
struct EncoderBlockShape {
  int64_t width = 0;  // divisible by heads
  int64_t heads = 0;
  double layer_norm_epsilon = 0;
};

// The block of unit `unit`. INVALID_ARGUMENT when the unit lacks a parameter.
absl::StatusOr<std::unique_ptr<Stage>> MakeEncoderBlock(const EncoderBlockShape& shape,
                                                        const layout::ModelDescription& description,
                                                        int unit);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_ENCODER_BLOCKS_H_
