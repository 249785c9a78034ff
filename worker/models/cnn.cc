#include "worker/models/cnn.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/models/cnn_stage.h"
#include "worker/models/layer_finder.h"
#include "worker/models/pooled_head.h"
#include "worker/models/value_input.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeStage(const layout::CnnDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  const layout::UnitDescription& unit = description.units[index];
  LayerFinder find(unit);
  const auto conv = [&](const char* name, int64_t stride) -> nn::Conv2d::Options {
    const int weight = find.Parameter(absl::StrCat(name, ".weight"));
    return {.weight = weight,
            .kernel = {3, 3},
            .stride = {stride, stride},
            .padding = {1, 1},
            .weight_frozen = IsFrozen(unit, weight),
            .index = LayerIndex(unit, weight)};
  };
  const auto norm = [&](const char* name) -> nn::GroupNorm::Options {
    const int gain = find.Parameter(absl::StrCat(name, ".weight"));
    const int bias = find.Parameter(absl::StrCat(name, ".bias"));
    return {.gain = gain,
            .bias = bias,
            .groups = dimensions.groups,
            .gain_frozen = IsFrozen(unit, gain),
            .bias_frozen = IsFrozen(unit, bias),
            .index = LayerIndex(unit, gain)};
  };
  const CnnStage::Options options = {.unit = index,
                                     .conv_1 = conv("conv_1", index == 1 ? 1 : 2),
                                     .norm_1 = norm("norm_1"),
                                     .conv_2 = conv("conv_2", 1),
                                     .norm_2 = norm("norm_2")};
  RETURN_IF_ERROR(find.status());
  return std::make_unique<CnnStage>(options);
}

}  // namespace

absl::StatusOr<StageStack> MakeCnnStages(const layout::CnnDimensions& dimensions,
                                         const layout::ModelDescription& description) {
  LayerFinder find(description.units[0]);
  const PooledHead::Options head = {.pooling = PooledHead::Pooling::kImage,
                                    .head = find.Linear("head").base,
                                    .loss = dimensions.loss};
  RETURN_IF_ERROR(find.status());
  return StackStages(
      description, std::make_unique<ValueInput>(/*as_rows=*/false),
      [&](int unit) { return MakeStage(dimensions, description, unit); },
      std::make_unique<PooledHead>(head));
}

}  // namespace sotto::models
