#include "worker/models/vit.h"

#include <memory>

#include "common/base/status_macros.h"
#include "worker/models/encoder_blocks.h"
#include "worker/models/layer_finder.h"
#include "worker/models/patch_embedding.h"
#include "worker/models/pooled_head.h"

namespace sotto::models {

absl::StatusOr<StageStack> MakeVitStages(const layout::VitDimensions& dimensions,
                                         const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  const PatchEmbedding::Options embedding = {.patch_size = dimensions.grid.patch_size,
                                             .patches = find.Linear("patches").base,
                                             .class_token = find.Table("class_token"),
                                             .positions = find.Table("positions")};
  const PooledHead::Options head = {.norm = find.LayerNorm("norm", dimensions.layer_norm_epsilon),
                                    .pooling = PooledHead::Pooling::kFirstToken,
                                    .head = find.Linear("head").base,
                                    .loss = dimensions.loss};
  RETURN_IF_ERROR(find.status());
  const EncoderBlockShape block = {.width = dimensions.width,
                                   .heads = dimensions.heads,
                                   .layer_norm_epsilon = dimensions.layer_norm_epsilon};
  return StackStages(
      description, std::make_unique<PatchEmbedding>(embedding),
      [&](int unit) { return MakeEncoderBlock(block, description, unit); },
      std::make_unique<PooledHead>(head));
}

}  // namespace sotto::models
