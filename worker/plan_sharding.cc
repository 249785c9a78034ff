#include "worker/plan_sharding.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/spec/sharding_choice.h"

namespace sotto {

absl::StatusOr<layout::RankGrid> GridOf(const v1::ShardingPlan& plan) {
  const std::optional<layout::RankGrid> grid = layout::MakeRankGrid(
      spec::StrategyOf(plan.strategy()), plan.world_size(), plan.shard_group_size());
  if (grid.has_value()) return *grid;
  return absl::FailedPreconditionError(
      absl::StrCat(plan.world_size(), " ranks make no groups of ", plan.shard_group_size()));
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
