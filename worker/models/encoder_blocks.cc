#include "worker/models/encoder_blocks.h"

#include "common/base/status_macros.h"
#include "worker/models/encoder_block.h"
#include "worker/models/layer_finder.h"

namespace sotto::models {

absl::StatusOr<std::unique_ptr<Stage>> MakeEncoderBlock(const EncoderBlockShape& shape,
                                                        const layout::ModelDescription& description,
                                                        int unit) {
  LayerFinder find(description.units[unit], description.lora_alpha);
  const EncoderBlock::Options options = {
      .unit = unit,
      .norm_1 = find.LayerNorm("norm_1", shape.layer_norm_epsilon),
      .attention = {.projection = find.Linear("attention.qkv"),
                    .output = find.Linear("attention.output"),
                    .heads = shape.heads,
                    .head_width = shape.width / shape.heads},
      .norm_2 = find.LayerNorm("norm_2", shape.layer_norm_epsilon),
      .mlp = {.up = find.Linear("mlp.up"), .down = find.Linear("mlp.down")},
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<EncoderBlock>(options);
}

}  // namespace sotto::models
