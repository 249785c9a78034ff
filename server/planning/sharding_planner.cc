#include "server/planning/sharding_planner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/known_modes.h"
#include "common/layout/memory.h"
#include "common/layout/schedule_options.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "server/planning/memory_remedies.h"
#include "server/planning/placement.h"

namespace sotto::planning {
namespace {

v1::MemoryPlan MemoryMessage(const layout::MemoryEstimate& estimate) {
  v1::MemoryPlan plan;
  plan.set_parameters_bytes(estimate.parameters_bytes);
  plan.set_gradient_bytes(estimate.gradient_bytes);
  plan.set_optimizer_bytes(estimate.optimizer_bytes);
  plan.set_slots_bytes(estimate.slots_bytes);
  plan.set_activations_bytes(estimate.activations_bytes);
  plan.set_held_gradients_bytes(estimate.held_gradients_bytes);
  plan.set_workspace_bytes(estimate.workspace_bytes);
  plan.set_communicator_bytes(estimate.communicator_bytes);
  plan.set_baseline_bytes(estimate.baseline_bytes);
  plan.set_fragmentation_bytes(estimate.fragmentation_bytes);
  plan.set_total_bytes(estimate.total_bytes());
  return plan;
}

// What the smallest micro-batch needs: with `auto`, in the leanest mode.
int64_t LeastBytes(const v1::JobSpec& spec, const Placement& placement) {
  layout::ModeChoice least;
  least.mode = layout::FindMode(spec.gradient().mode()).value_or(layout::kFlashMode.mode);
  least.micro_batch_size = std::max(1, spec.train().micro_batch_size());
  return placement.Memory(least).total_bytes();
}

void CheckPatterns(const Placement& placement, const Placement::Patterns& patterns,
                   absl::string_view field, Rules& rules) {
  for (const std::string& pattern : placement.UnmatchedPatterns(patterns)) {
    rules.Break(field, "must match the name of a unit", pattern);
  }
}

// Mode, size and times; nothing, with the reason, when nothing fits.
std::optional<layout::ModeChoice> Choose(const v1::JobSpec& spec, const HostFacts& host,
                                         const Placement& placement, Rules& rules,
                                         bool& memory_decided) {
  const int64_t limit = MemoryLimit(spec, host);
  const bool fixed = spec.train().micro_batch_size() > 0;
  const int32_t wanted = fixed ? spec.train().micro_batch_size() : placement.PreferredMicroBatch();
  const bool automatic = layout::IsAutomatic(spec.gradient().mode());
  absl::StatusOr<layout::ModeChoice> choice = automatic
                                                  ? placement.AutomaticChoice(wanted, fixed, limit)
                                                  : placement.NamedChoice(wanted, fixed, limit);
  if (!choice.ok() && !absl::IsResourceExhausted(choice.status())) {
    rules.Break("gradient.mode", absl::StrCat("cannot be predicted: ", choice.status().message()),
                spec.gradient().mode());
    return std::nullopt;
  }
  const bool fits = choice.ok() && choice->micro_batch_size > 0 &&
                    placement.Memory(*choice).total_bytes() <= limit;
  if (!fits) {
    const int64_t needed = LeastBytes(spec, placement);
    rules.Break(
        fixed ? "train.micro_batch_size" : "gradient.memory_limit_bytes",
        absl::StrCat(fixed ? "needs" : "is too small: even micro-batches of one example need", " ",
                     needed, " bytes per rank, and the limit is ", limit, "; ",
                     MemoryRemedies(spec, host, needed)),
        fixed ? absl::StrCat(wanted) : absl::StrCat(limit));
    return std::nullopt;
  }
  memory_decided = !automatic && choice->micro_batch_size < wanted;
  return *std::move(choice);
}

// The same for a job that goes on from the plan `replaced`.
std::optional<layout::ModeChoice> ChooseAgain(const v1::JobSpec& spec, const HostFacts& host,
                                              const Placement& placement,
                                              const v1::JobPlan& replaced, Rules& rules) {
  const int64_t limit = MemoryLimit(spec, host);
  absl::StatusOr<layout::ModeChoice> choice = placement.KeptChoice(replaced);
  if (!choice.ok()) {
    rules.Break("gradient.mode", absl::StrCat("cannot be kept: ", choice.status().message()),
                spec.gradient().mode());
    return std::nullopt;
  }
  const int64_t needed = placement.Memory(*choice).total_bytes();
  if (needed <= limit) return *std::move(choice);
  if (layout::IsAutomatic(spec.gradient().mode())) {
    choice = placement.AutomaticChoice(replaced.train().micro_batch_size(), /*fixed=*/true, limit);
    if (choice.ok() && placement.Memory(*choice).total_bytes() <= limit) return *std::move(choice);
  }
  rules.Break("workers",
              absl::StrCat("leave a rank too little memory: the job's micro-batches of ",
                           replaced.train().micro_batch_size(), " examples need ", needed,
                           " bytes, and the limit is ", limit),
              "");
  return std::nullopt;
}

}  // namespace

std::optional<PlacedJob> PlaceJob(const v1::JobSpec& spec, const HostFacts& host, Rules& rules,
                                  const v1::JobPlan* replaced) {
  const absl::StatusOr<Placement> placement = Placement::Create(spec, host);
  if (!placement.ok()) {
    rules.BreakModel(placement.status().message());
    return std::nullopt;
  }
  CheckPatterns(*placement, spec.workers().reshard_after_forward().keep_gathered(),
                "workers.reshard_after_forward.keep_gathered", rules);
  CheckPatterns(*placement, spec.train().activation_checkpointing().units(),
                "train.activation_checkpointing.units", rules);
  PlacedJob job;
  job.checkpointed_blocks = placement->CheckpointedBlocks();
  job.parameters = placement->layout().total_elements();
  job.trained_parameters = placement->layout().trainable_elements();
  const std::optional<layout::ModeChoice> choice =
      replaced != nullptr ? ChooseAgain(spec, host, *placement, *replaced, rules)
                          : Choose(spec, host, *placement, rules, job.memory_decided);
  if (!choice.has_value()) return std::nullopt;
  job.micro_batch_size = static_cast<int32_t>(choice->micro_batch_size);
  job.memory = MemoryMessage(placement->Memory(*choice));
  job.profile = placement->profile();
  job.seconds_per_step = placement->SecondsPerStep(*choice);
  absl::StatusOr<v1::ShardingPlan> sharding = placement->Sharding(*choice);
  if (!sharding.ok()) {
    rules.Break("gradient.mode", absl::StrCat("has no schedule: ", sharding.status().message()),
                spec.gradient().mode());
    return std::nullopt;
  }
  job.sharding = *std::move(sharding);
  if (!rules.Require(
          host.communicator_bytes == 0 ||
              job.sharding.communicator_bytes() <= host.communicator_bytes,
          "workers.count",
          absl::StrCat("needs ", job.sharding.communicator_bytes(),
                       " bytes of shared memory, and the host gives ", host.communicator_bytes),
          spec.workers().count())) {
    return std::nullopt;
  }
  return job;
}

absl::StatusOr<layout::ScheduleOptions> ScheduleOptionsOf(const v1::JobPlan& plan) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(plan.spec().model()));
  ASSIGN_OR_RETURN(const layout::WrappedModel wrapped,
                   spec::WrapModel(model, plan.spec().workers().wrapping()));
  ASSIGN_OR_RETURN(const layout::ScheduleChoice choice,
                   spec::ScheduleChoiceOf(plan, model, wrapped));
  return layout::MakeScheduleOptions(model, choice);
}

}  // namespace sotto::planning
