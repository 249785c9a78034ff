#include "common/spec/sharding_choice.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/layer_rules.h"
#include "common/spec/model_layout.h"

namespace sotto::spec {
namespace {

// By block and layer; empty where one mode is every layer's. The plan lists layers in the order of
// blocks.
absl::StatusOr<layout::LayerModes> LayerModesOf(const v1::JobPlan& plan,
                                                const layout::ModelDescription& model,
                                                const layout::BlockPlaces& blocks) {
  if (!layout::IsAutomatic(plan.spec().gradient().mode())) return layout::LayerModes();
  layout::LayerModes modes(model.units.size());
  int next = 0;
  for (size_t block = 0; block < model.units.size(); ++block) {
    for (const layout::LayerDescription& layer : model.units[block].layers) {
      const int unit = blocks.parameters[block][layer.parameters.front()].unit;
      if (next >= plan.sharding().layers_size() || plan.sharding().layers(next).unit() != unit) {
        return absl::FailedPreconditionError(
            absl::StrCat("layer ", next, " of the plan is not ", layer.name, " of unit ", unit));
      }
      ASSIGN_OR_RETURN(const layout::UnitMode mode, ModeOf(plan.sharding().layers(next++).mode()));
      modes[block].push_back(mode);
    }
  }
  if (next == plan.sharding().layers_size()) return modes;
  return absl::FailedPreconditionError(absl::StrCat("the plan has ", plan.sharding().layers_size(),
                                                    " layers, but the model ", next));
}

absl::StatusOr<std::vector<bool>> KeptOf(const v1::ShardingPlan& plan, size_t units) {
  std::vector<bool> kept;
  for (int unit : plan.kept_gathered()) {
    kept.resize(units, false);
    if (unit < 0 || unit >= static_cast<int>(units)) {
      return absl::FailedPreconditionError(
          absl::StrCat("unit ", unit, " is kept gathered, but there are ", units));
    }
    kept[unit] = true;
  }
  return kept;
}

}  // namespace

layout::Strategy StrategyOf(v1::Strategy strategy) {
  return layout::FindStrategy(v1::Strategy_Name(strategy)).value_or(layout::Strategy::kFullShard);
}

absl::StatusOr<layout::WrappedModel> WrapModel(const layout::ModelDescription& model,
                                               const v1::WrappingSpec& wrapping) {
  layout::Wrapping choice;
  if (wrapping.has_by_size()) {
    choice.kind = layout::Wrapping::Kind::kBySize;
    choice.minimum_parameters = wrapping.by_size().minimum_parameters();
  }
  if (wrapping.has_by_layer()) {
    choice.kind = layout::Wrapping::Kind::kByLayer;
    for (const std::string& name : wrapping.by_layer().kinds()) {
      const std::optional<layout::LayerKind> kind = layout::FindLayerKind(name);
      if (!kind.has_value()) {
        return absl::InvalidArgumentError(absl::StrCat("no layers are of the kind ", name));
      }
      choice.layer_kinds.push_back(*kind);
    }
    if (choice.layer_kinds.empty()) choice.layer_kinds.push_back(layout::LayerKind::kLinear);
  }
  return layout::Wrap(model, choice);
}

absl::StatusOr<layout::ScheduleChoice> ScheduleChoiceOf(const v1::JobPlan& plan,
                                                        const layout::ModelDescription& model,
                                                        const layout::WrappedModel& wrapped) {
  const v1::ShardingPlan& sharding = plan.sharding();
  layout::ScheduleChoice choice{.strategy = StrategyOf(sharding.strategy()),
                                .gathered_slots = sharding.gathered_slots(),
                                .gradient_slots = sharding.gradient_slots(),
                                .prefetch_depth = sharding.prefetch_depth()};
  ASSIGN_OR_RETURN(choice.mode, ModeOf(sharding.mode()));
  ASSIGN_OR_RETURN(choice.layer_modes, LayerModesOf(plan, model, wrapped.blocks));
  ASSIGN_OR_RETURN(choice.kept_gathered, KeptOf(sharding, wrapped.units.units.size()));
  choice.checkpointed_blocks.assign(plan.train().checkpointed_blocks().begin(),
                                    plan.train().checkpointed_blocks().end());
  choice.SetUnits(wrapped);
  return choice;
}

}  // namespace sotto::spec
