#include "worker/models/dit.h"

#include <memory>

#include "common/base/status_macros.h"
#include "worker/models/dit_block.h"
#include "worker/models/dit_embedding.h"
#include "worker/models/dit_head.h"
#include "worker/models/layer_finder.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::DitDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  LayerFinder find(description.units[index], description.lora_alpha);
  const DitBlock::Options options = {
      .unit = index,
      .modulation = find.Linear("modulation"),
      .attention = {.projection = find.Linear("attention.qkv"),
                    .output = find.Linear("attention.output"),
                    .heads = dimensions.heads,
                    .head_width = dimensions.width / dimensions.heads},
      .mlp = {.up = find.Linear("mlp.up"),
              .down = find.Linear("mlp.down"),
              .activation = nn::ActivationKind::kGeluTanh},
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<DitBlock>(options);
}

}  // namespace

absl::StatusOr<StageStack> MakeDitStages(const layout::DitDimensions& dimensions,
                                         const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  DitEmbedding::Options embedding = {.patch_size = dimensions.grid.patch_size,
                                     .time_steps = dimensions.time_steps,
                                     .width = dimensions.width,
                                     .patches = find.Linear("patches").base,
                                     .positions = find.Table("positions"),
                                     .time = {.up = find.Linear("time.up"),
                                              .down = find.Linear("time.down"),
                                              .activation = nn::ActivationKind::kSilu}};
  if (dimensions.classes > 0) embedding.classes = find.Table("classes");
  const DitHead::Options head = {.patch_size = dimensions.grid.patch_size,
                                 .modulation = find.Linear("final.modulation").base,
                                 .projection = find.Linear("final.projection").base};
  RETURN_IF_ERROR(find.status());
  return StackStages(
      description, std::make_unique<DitEmbedding>(embedding),
      [&](int unit) { return MakeBlock(dimensions, description, unit); },
      std::make_unique<DitHead>(head));
}

}  // namespace sotto::models
