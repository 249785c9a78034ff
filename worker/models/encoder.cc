#include "worker/models/encoder.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/models/encoder_block.h"
#include "worker/models/layer_finder.h"
#include "worker/models/pooled_head.h"
#include "worker/models/token_embedding.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::EncoderDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  LayerFinder find(description.units[index], description.lora_alpha);
  const EncoderBlock::Options options = {
      .unit = index,
      .norm_1 = find.LayerNorm("norm_1", dimensions.layer_norm_epsilon),
      .attention = {.projection = find.Linear("attention.qkv"),
                    .output = find.Linear("attention.output"),
                    .heads = dimensions.heads,
                    .head_width = dimensions.width / dimensions.heads},
      .norm_2 = find.LayerNorm("norm_2", dimensions.layer_norm_epsilon),
      .mlp = {.up = find.Linear("mlp.up"), .down = find.Linear("mlp.down")},
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<EncoderBlock>(options);
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeEncoderStages(
    const layout::EncoderDimensions& dimensions, const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  const TokenEmbedding::Options embedding = {
      .unit = 0, .tokens = find.Table("tokens"), .positions = find.Table("positions")};
  const PooledHead::Options head = {.norm = find.LayerNorm("norm", dimensions.layer_norm_epsilon),
                                    .head = find.Linear("classifier").base};
  RETURN_IF_ERROR(find.status());

  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<TokenEmbedding>(embedding));
  for (size_t i = 1; i < description.units.size(); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Stage> block,
                     MakeBlock(dimensions, description, static_cast<int>(i)));
    stages.push_back(std::move(block));
  }
  stages.push_back(std::make_unique<PooledHead>(head));
  return stages;
}

}  // namespace sotto::models
