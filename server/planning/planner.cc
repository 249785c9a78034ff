#include "server/planning/planner.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/spec/device_profile_message.h"
#include "server/accounting/adjacency.h"
#include "server/accounting/job_epsilon.h"
#include "server/planning/defaults.h"
#include "server/planning/device_profiles.h"
#include "server/planning/model_facts.h"
#include "server/planning/privacy_planner.h"
#include "server/planning/rules.h"
#include "server/planning/same_result.h"
#include "server/planning/sharding_planner.h"
#include "server/planning/spec_rules.h"

namespace sotto::planning {
namespace {

// The coordinator measures steps and adapts to 1 to 5 s; until then a crash should cost little.
constexpr int64_t kFirstGrantSteps = 1;
constexpr int kOutstandingGrants = 2;

// Beyond it the promise says little about anyone.
constexpr double kLargeEpsilon = 20;

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
  plan.set_checkpoint_keep_best(spec.checkpoint().keep_best());
  plan.mutable_checkpointed_blocks()->Assign(placed.checkpointed_blocks.begin(),
                                             placed.checkpointed_blocks.end());
  plan.set_steps_per_grant(kFirstGrantSteps);
  plan.set_parameters(placed.parameters);
  plan.set_estimated_seconds(placed.seconds_per_step * static_cast<double>(steps));
  return plan;
}

// What the second moment is kept above once the noise's variance is taken out: given, or a share of
// that variance at the first step. Without noise there is nothing to take out.
double OptimizerFloor(const v1::JobSpec& spec, const v1::PrivacyPlan& privacy) {
  const v1::AdamwSpec& adamw = spec.train().optimizer().adamw();
  if (!adamw.has_noise_correction()) return 0;
  if (adamw.noise_correction().has_floor()) return adamw.noise_correction().floor();
  constexpr double kShare = 0.01;
  const double stddev = privacy.gradient_noise_multiplier() * privacy.sensitivity_factor() *
                        privacy.clip_norm() / spec.train().expected_batch_size();
  return kShare * stddev * stddev;
}

// The threshold follows the clip fraction as released: noise that is larger than what it looks for
// moves it about at random.
void AddAdaptiveNote(v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (privacy.clipping().rule() != v1::ClippingPlan::ADAPTIVE) return;
  const double quantile = privacy.clipping().target_quantile();
  const double noise =
      privacy.clip_fraction_noise_multiplier() / plan.train().expected_batch_size();
  if (noise <= std::min(quantile, 1 - quantile)) return;
  plan.add_notes(absl::StrFormat(
      "privacy.clipping.adaptive: the clip fraction leaves with noise of standard deviation %.2g, "
      "more than target_quantile %g leaves room for: the threshold wanders.",
      noise, quantile));
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
  if (privacy.sampler().kind() == v1::SamplerPlan::SHUFFLED) {
    plan.add_notes(
        absl::StrFormat("WARNING: shuffled batches are not amplified by sampling: each epoch of %d "
                        "steps costs what a step on the whole data does.%s",
                        privacy.sampler().steps_per_epoch(),
                        privacy.adjacency() == accounting::kReplaceOne  // refuses Poisson batches
                            ? ""
                            : " Poisson batches promise the same with far less noise."));
  }
  if (privacy.adjacency() != accounting::kAddOrRemoveOne) {
    plan.add_notes(privacy.adjacency() == accounting::kReplaceOne
                       ? "Adjacency replace_one: the promise is about one record becoming another; "
                         "the noise is twice as large for it."
                       : "Adjacency zero_out: the promise is about what one record says, not about "
                         "whether there is one.");
  }
  if (privacy.epsilon() > kLargeEpsilon) {
    plan.add_notes(absl::StrFormat(
        "epsilon %.3g is large: what can be concluded about one record may change by a factor of "
        "e^%.3g.",
        privacy.epsilon(), privacy.epsilon()));
  }
  AddAdaptiveNote(plan);
  const absl::StatusOr<CrashCost> crash = CostOfCrash(plan);
  if (crash.ok() && plan.spec().privacy().crash_reserve() == 0) {
    plan.add_notes(absl::StrFormat(
        "A crash costs up to %d steps: without privacy.crash_reserve the job then ends that much "
        "earlier, within its epsilon.",
        crash->steps));
  }
}

void AddModeNotes(const HostFacts& host, v1::JobPlan& plan) {
  const v1::ShardingPlan& sharding = plan.sharding();
  int own_gradients = 0;
  for (const v1::LayerPlan& layer : sharding.layers()) {
    own_gradients += absl::StartsWith(layer.note(), "no fast norm rule");
  }
  if (own_gradients > 0) {
    plan.add_notes(absl::StrCat(own_gradients,
                                " layers have no fast norm rule: their examples' gradients are "
                                "formed one by one."));
  }
  if (!ProfileFor(host.device_profiles, sharding.threads_per_rank()).measured) {
    plan.add_notes(absl::StrCat("No worker has measured ", sharding.threads_per_rank(),
                                " threads yet: times are those of a typical host."));
  }
}

// The rules look at weight_decay beside the peak, which a growing learning rate leaves behind.
void AddDecayNote(v1::JobPlan& plan) {
  const v1::TrainSpec& train = plan.spec().train();
  const v1::StepDecay& stairs = train.learning_rate().step();
  if (stairs.factor() <= 1) return;
  const auto changes = static_cast<double>((plan.train().steps() - 1) / stairs.every_steps());
  const double rate = train.learning_rate().peak() * std::pow(stairs.factor(), changes);
  const double decay =
      std::max(train.optimizer().sgd().weight_decay(), train.optimizer().adamw().weight_decay());
  if (rate * decay <= 1) return;
  plan.add_notes(absl::StrFormat(
      "WARNING: the learning rate grows to %g, where weight_decay %g turns weights round: they may "
      "grow with every step.",
      rate, decay));
}

void AddNotes(const HostFacts& host, bool memory_decided, v1::JobPlan& plan) {
  AddPrivacyNotes(plan);
  AddModeNotes(host, plan);
  AddDecayNote(plan);
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
  const int32_t max_length = MaxLengthOf(plan.spec().model());
  if (plan.dataset().max_length() > max_length) {
    plan.add_notes(absl::StrCat("Records longer than ", max_length, " tokens are truncated."));
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
      !rules.IsBroken("train.activation_checkpointing") &&
      filled.train().expected_batch_size() > 0) {
    placed = PlaceJob(filled, host, rules);
  }
  if (privacy.has_value() && placed.has_value()) {
    PlanUnitThresholds(filled, placed->sharding, rules, *privacy);
  }
  if (privacy.has_value() && !spec.train().has_steps()) {
    rules.Require(filled.train().learning_rate().warmup_steps() <= privacy->planned_steps(),
                  "train.learning_rate.warmup_steps",
                  absl::StrCat("must be at most the ", privacy->planned_steps(), " steps"),
                  filled.train().learning_rate().warmup_steps());
    CheckLearningRateReach(filled.train().learning_rate(), privacy->planned_steps(), rules);
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
  plan.mutable_train()->set_optimizer_floor(OptimizerFloor(plan.spec(), plan.privacy()));
  *plan.mutable_device_profile() = spec::ProfileMessage(placed->profile);
  AddNotes(host, placed->memory_decided, plan);
  return plan;
}

absl::StatusOr<v1::JobPlan> Replan(const v1::JobPlan& plan, const v1::WorkersSpec& changes,
                                   const HostFacts& host) {
  v1::JobSpec spec = plan.spec();
  *spec.mutable_workers() = ChangedWorkers(plan.spec().workers(), changes);
  spec.mutable_train()->set_micro_batch_size(plan.train().micro_batch_size());
  Rules rules;
  // Whoever submitted a not-private job on data with a budget was a steward.
  CheckSpec(spec, plan.dataset(), host, {.data_steward = true}, rules);
  RETURN_IF_ERROR(rules.Check());
  spec = WithDefaults(spec, plan.dataset());
  const std::optional<PlacedJob> placed = PlaceJob(spec, host, rules, &plan);
  RETURN_IF_ERROR(rules.Check());

  v1::JobPlan changed = plan;
  changed.set_protocol_version(kProtocolVersion);  // This server's workers may be newer.
  *changed.mutable_spec()->mutable_workers() = spec.workers();
  *changed.mutable_train() = TrainPlanOf(plan.spec(), *placed, plan.train().steps());
  changed.mutable_train()->set_optimizer_floor(OptimizerFloor(plan.spec(), plan.privacy()));
  *changed.mutable_sharding() = placed->sharding;
  *changed.mutable_memory() = placed->memory;
  *changed.mutable_device_profile() = spec::ProfileMessage(placed->profile);
  RETURN_IF_ERROR(CheckSameResult(plan, changed));
  changed.clear_notes();
  AddNotes(host, placed->memory_decided, changed);
  if (HasOtherModes(plan, changed)) {
    changed.add_notes(
        "The modes that auto picked before did not fit these workers: layers have others now, "
        "whose results agree to rounding.");
  }
  return changed;
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
  accounting::JobMechanism mechanism{.sampling_rate = privacy.sampling_rate(),
                                     .steps_per_epoch = privacy.sampler().steps_per_epoch(),
                                     .planned_steps = privacy.planned_steps(),
                                     .delta = privacy.accounting_delta()};
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    mechanism.first_steps.push_back(segment.first_step());
    mechanism.noise_multipliers.push_back(segment.noise_multiplier());
  }
  ASSIGN_OR_RETURN(const accounting::JobEpsilon planned, accounting::JobEpsilon::Create(mechanism));
  // At the end of the job: the noise may have changed by then, and its last value counts.
  const int64_t end = privacy.planned_steps();
  std::vector<int64_t> counts = planned.compositions().Count(0, end, 0);
  const double without = planned.At(counts);
  const std::vector<int64_t> again =
      planned.compositions().Count(end - std::min(end, cost.steps), end, end);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += again[i];
  cost.epsilon = planned.At(counts) - without;
  return cost;
}

}  // namespace sotto::planning
