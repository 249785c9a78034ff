#include "worker/plan_sharding.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/spec/model_layout.h"

namespace sotto {

namespace {

// By unit and layer; empty where one mode is every layer's.
absl::StatusOr<layout::LayerModes> LayerModesOf(const v1::JobPlan& plan,
                                                const layout::ModelDescription& model) {
  if (!layout::IsAutomatic(plan.spec().gradient().mode())) return layout::LayerModes();
  layout::LayerModes modes(model.units.size());
  for (const v1::LayerPlan& layer : plan.sharding().layers()) {
    if (layer.unit() < 0 || layer.unit() >= static_cast<int>(model.units.size())) {
      return absl::FailedPreconditionError(
          absl::StrCat("layer ", layer.name(), " is of unit ", layer.unit(), ", which is none"));
    }
    ASSIGN_OR_RETURN(const layout::UnitMode mode, spec::ModeOf(layer.mode()));
    modes[layer.unit()].push_back(mode);
  }
  for (size_t unit = 0; unit < modes.size(); ++unit) {
    if (modes[unit].size() == model.units[unit].layers.size()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("unit ", model.units[unit].name, " has ", modes[unit].size(),
                     " layers in the plan, but ", model.units[unit].layers.size(), " here"));
  }
  return modes;
}

}  // namespace

layout::Strategy StrategyOf(const v1::ShardingPlan& plan) {
  return layout::FindStrategy(v1::Strategy_Name(plan.strategy()))
      .value_or(layout::Strategy::kFullShard);
}

absl::StatusOr<layout::RankGrid> GridOf(const v1::ShardingPlan& plan) {
  const std::optional<layout::RankGrid> grid =
      layout::MakeRankGrid(StrategyOf(plan), plan.world_size(), plan.shard_group_size());
  if (grid.has_value()) return *grid;
  return absl::FailedPreconditionError(
      absl::StrCat(plan.world_size(), " ranks make no groups of ", plan.shard_group_size()));
}

absl::StatusOr<layout::ScheduleChoice> ChoiceOf(const v1::JobPlan& plan,
                                                const layout::ModelDescription& model) {
  const v1::ShardingPlan& sharding = plan.sharding();
  ASSIGN_OR_RETURN(const layout::UnitMode mode, spec::ModeOf(sharding.mode()));
  ASSIGN_OR_RETURN(layout::LayerModes layer_modes, LayerModesOf(plan, model));
  return layout::ScheduleChoice{.mode = mode,
                                .layer_modes = std::move(layer_modes),
                                .strategy = StrategyOf(sharding),
                                .gathered_slots = sharding.gathered_slots(),
                                .gradient_slots = sharding.gradient_slots()};
}

absl::Status CheckSharding(const v1::ShardingPlan& plan, const layout::FlatLayout& layout,
                           const layout::ScheduleOptions& schedule) {
  if (plan.units_size() != layout.num_units()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the plan has ", plan.units_size(), " units, but the model ", layout.num_units()));
  }
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    if (plan.units(unit).padded_elements() == layout.unit(unit).padded_elements) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("unit ", plan.units(unit).name(), " has ", plan.units(unit).padded_elements(),
                     " elements in the plan, but ", layout.unit(unit).padded_elements, " here"));
  }
  ASSIGN_OR_RETURN(const std::string text, layout::CanonicalScheduleText(schedule));
  if (crypto::HexSha256(text) == plan.schedule_hash()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the plan's schedule_hash is not that of this worker's schedule");
}

}  // namespace sotto
