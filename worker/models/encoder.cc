#include "worker/models/encoder.h"

#include <memory>

#include "common/base/status_macros.h"
#include "worker/models/encoder_blocks.h"
#include "worker/models/layer_finder.h"
#include "worker/models/pooled_head.h"
#include "worker/models/token_embedding.h"

namespace sotto::models {

absl::StatusOr<StageStack> MakeEncoderStages(const layout::EncoderDimensions& dimensions,
                                             const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  const TokenEmbedding::Options embedding = {
      .unit = 0, .tokens = find.Table("tokens"), .positions = find.Table("positions")};
  const PooledHead::Options head = {.norm = find.LayerNorm("norm", dimensions.layer_norm_epsilon),
                                    .head = find.Linear("classifier").base};
  RETURN_IF_ERROR(find.status());
  const EncoderBlockShape block = {.width = dimensions.width,
                                   .heads = dimensions.heads,
                                   .layer_norm_epsilon = dimensions.layer_norm_epsilon};
  return StackStages(
      description, std::make_unique<TokenEmbedding>(embedding),
      [&](int unit) { return MakeEncoderBlock(block, description, unit); },
      std::make_unique<PooledHead>(head));
}

}  // namespace sotto::models
