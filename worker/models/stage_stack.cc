#include "worker/models/stage_stack.h"

#include <utility>

#include "common/base/status_macros.h"

namespace sotto::models {

absl::StatusOr<StageStack> StackStages(const layout::ModelDescription& description,
                                       std::unique_ptr<Stage> first, MakeUnitStage make_stage,
                                       std::unique_ptr<Stage> last) {
  StageStack stages;
  stages.push_back(std::move(first));
  for (size_t unit = 1; unit < description.units.size(); ++unit) {
    ASSIGN_OR_RETURN(stages.emplace_back(), make_stage(static_cast<int>(unit)));
  }
  stages.push_back(std::move(last));
  return stages;
}

}  // namespace sotto::models
