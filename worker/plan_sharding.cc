#include "worker/plan_sharding.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto {

layout::ScheduleOptions ScheduleOptionsOf(const v1::JobPlan& plan,
                                          const layout::ModelDescription& model,
                                          const layout::UnitMode& mode) {
  return {.stages = model.stages,
          .kept = mode.kept,
          .gathered_slots = plan.sharding().gathered_slots(),
          .gradient_slots = plan.sharding().gradient_slots()};
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
