#include "server/planning/planner.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "server/accounting/epsilon_curve.h"
#include "server/planning/defaults.h"
#include "server/planning/privacy_planner.h"
#include "server/planning/rules.h"
#include "server/planning/sharding_planner.h"
#include "server/planning/spec_rules.h"

namespace sotto::planning {
namespace {

constexpr int kProtocolVersion = 1;

// The coordinator measures steps and adapts to 1 to 5 s; until then a crash should cost little.
constexpr int64_t kFirstGrantSteps = 1;
constexpr int kOutstandingGrants = 2;

// Checkpoints every 2% of the steps.
constexpr double kCheckpointShare = 0.02;

int64_t DefaultCheckpointSteps(int64_t steps) {
  return std::max<int64_t>(1, static_cast<int64_t>(kCheckpointShare * static_cast<double>(steps)));
}

v1::TrainPlan TrainPlanOf(const v1::JobSpec& spec, const PlacedJob& placed, int64_t steps) {
  v1::TrainPlan plan;
  plan.set_expected_batch_size(spec.train().expected_batch_size());
  plan.set_steps(steps);
  plan.set_micro_batch_size(placed.micro_batch_size);
  *plan.mutable_lengths() = spec.data().lengths();
  plan.set_checkpoint_every_steps(spec.checkpoint().every_steps());
  plan.set_checkpoint_keep(spec.checkpoint().keep());
  plan.set_steps_per_grant(kFirstGrantSteps);
  plan.set_parameters(placed.parameters);
  return plan;
}

void AddPrivacyNotes(v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (privacy.not_private()) {
    plan.add_notes(plan.dataset().budgeted()
                       ? "This job promises no privacy; the ledger records that a data steward "
                         "submitted it on data that has a budget."
                       : "This job promises no privacy.");
    return;
  }
  if (privacy.delta() * static_cast<double>(plan.dataset().max_records()) >= 1) {
    plan.add_notes(
        absl::StrFormat("delta %g is not below 1 / max_records: a mechanism may publish a whole "
                        "record and keep it.",
                        privacy.delta()));
  }
  const absl::StatusOr<CrashCost> crash = CostOfCrash(plan);
  if (crash.ok() && plan.spec().privacy().crash_reserve() == 0) {
    plan.add_notes(absl::StrFormat(
        "A crash costs up to %d steps: without privacy.crash_reserve the job then ends that much "
        "earlier, within its epsilon.",
        crash->steps));
  }
}

void AddNotes(bool memory_decided, v1::JobPlan& plan) {
  AddPrivacyNotes(plan);
  if (memory_decided) {
    plan.add_notes(absl::StrCat("micro_batch_size ", plan.train().micro_batch_size(),
                                " is what the memory limit allows."));
  }
  const int64_t every = DefaultCheckpointSteps(plan.train().steps());
  if (plan.train().checkpoint_every_steps() > every) {
    plan.add_notes(absl::StrCat("checkpoint.every_steps ", plan.train().checkpoint_every_steps(),
                                " is more than 2% of the steps (", every,
                                "): a crash costs more steps."));
  }
  if (plan.dataset().max_length() > plan.spec().model().gpt2().max_length()) {
    plan.add_notes(absl::StrCat("Records longer than ", plan.spec().model().gpt2().max_length(),
                                " tokens are truncated."));
  }
}

}  // namespace

absl::StatusOr<v1::JobPlan> Plan(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                 const HostFacts& host, const PlanOptions& options) {
  Rules rules;
  CheckSpec(spec, dataset, host, options, rules);
  v1::JobSpec filled = WithDefaults(spec, dataset);

  // Each part is planned when its own fields are sound, so that its problems are reported with the
  // others.
  std::optional<v1::PrivacyPlan> privacy;
  if (!rules.IsBroken("privacy") && !rules.IsBroken("data") && !rules.IsBroken("train.steps") &&
      !rules.IsBroken("train.expected_batch_size")) {
    privacy = PlanPrivacy(filled, dataset, rules);
  }
  std::optional<PlacedJob> placed;
  if (!rules.IsBroken("model") && !rules.IsBroken("data.lengths") && !rules.IsBroken("workers") &&
      !rules.IsBroken("gradient") && !rules.IsBroken("train.micro_batch_size") &&
      !rules.IsBroken("train.expected_batch_size")) {
    placed = PlaceJob(filled, host, rules);
  }
  if (privacy.has_value() && !spec.train().has_steps()) {
    rules.Require(filled.train().learning_rate().warmup_steps() <= privacy->planned_steps(),
                  "train.learning_rate.warmup_steps",
                  absl::StrCat("must be at most the ", privacy->planned_steps(), " steps"),
                  filled.train().learning_rate().warmup_steps());
  }
  RETURN_IF_ERROR(rules.Check());

  const int64_t steps = privacy->planned_steps();
  if (!privacy->not_private()) {
    v1::MetricsPrivacySpec& metrics = *filled.mutable_privacy()->mutable_metrics();
    metrics.set_loss_multiplier(privacy->loss_noise_multiplier());
    metrics.set_clip_fraction_multiplier(privacy->clip_fraction_noise_multiplier());
  }
  if (filled.checkpoint().every_steps() == 0) {
    filled.mutable_checkpoint()->set_every_steps(DefaultCheckpointSteps(steps));
  }
  v1::JobPlan plan;
  plan.set_protocol_version(kProtocolVersion);
  *plan.mutable_train() = TrainPlanOf(filled, *placed, steps);
  *plan.mutable_spec() = std::move(filled);
  *plan.mutable_dataset() = dataset;
  *plan.mutable_privacy() = *std::move(privacy);
  *plan.mutable_sharding() = std::move(placed->sharding);
  *plan.mutable_memory() = std::move(placed->memory);
  AddNotes(placed->memory_decided, plan);
  return plan;
}

absl::StatusOr<std::string> ScheduleText(const v1::JobPlan& plan) {
  ASSIGN_OR_RETURN(const layout::ScheduleOptions options, ScheduleOptionsOf(plan));
  return layout::CanonicalScheduleText(options);
}

absl::StatusOr<CrashCost> CostOfCrash(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  CrashCost cost;
  // The coordinator never grants more at once than half of what lies between two checkpoints
  // (server/scheduler/policy.h).
  const int64_t every = plan.train().checkpoint_every_steps();
  cost.steps =
      std::min(plan.train().steps(), every + kOutstandingGrants * std::max<int64_t>(1, every / 2));
  if (privacy.not_private()) return cost;
  ASSIGN_OR_RETURN(
      const accounting::EpsilonCurve curve,
      accounting::EpsilonCurve::Create({privacy.sampling_rate(), privacy.noise_multiplier()},
                                       privacy.planned_steps(), privacy.accounting_delta()));
  cost.epsilon = curve.At(privacy.planned_steps() + cost.steps).epsilon -
                 curve.At(privacy.planned_steps()).epsilon;
  return cost;
}

}  // namespace sotto::planning
