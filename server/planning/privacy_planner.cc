#include "server/planning/privacy_planner.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/accounting/adjacency.h"
#include "server/accounting/batch_cap.h"
#include "server/accounting/calibration.h"
#include "server/accounting/charge.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"
#include "server/planning/model_facts.h"
#include "server/planning/noise_schedule.h"
#include "server/planning/privacy_rules.h"

namespace sotto::planning {
namespace {

// Jobs that promise nothing are capped all the same, so that their shapes are bounded too.
constexpr double kNominalEpsilon = 1;
constexpr double kNominalDelta = 1e-6;

constexpr double kMetricsMultiplier = 8;

// A job may cost epsilon 0; the cap's formula barely moves below this.
constexpr double kSmallestCapEpsilon = 1e-3;

// The margin of the applied clip norm (design section 4) must stay a fraction of it.
constexpr int64_t kMaxCap = int64_t{1} << 21;

int64_t StepsPerEpoch(const v1::PrivacyPlan& plan) { return plan.sampler().steps_per_epoch(); }

int64_t WithReserve(int64_t count, double crash_reserve) {
  return count + static_cast<int64_t>(std::ceil(crash_reserve * static_cast<double>(count)));
}

// The largest number of steps that the schedule may be asked for. A stepwise one may go a change
// too far: that more steps would fit is for CheckSchedules to say.
int64_t StepsLimit(const v1::ScheduleSpec& schedule) {
  constexpr int64_t kMostSteps = int64_t{1} << 32;
  if (!schedule.has_step()) return kMostSteps;
  const double changes = std::log(kLargestFactor) / std::abs(std::log(schedule.step().factor()));
  const auto pieces =
      static_cast<int64_t>(std::min(static_cast<double>(kMostPieces), std::floor(changes) + 2));
  return std::min(kMostSteps, pieces * std::min(kMostSteps, schedule.step().every_steps()));
}

// Of noise_multiplier, steps and epsilon two are given; solves the third. Gives the pieces of the
// noise schedule.
absl::StatusOr<std::vector<SchedulePiece>> SolveNoise(const v1::JobSpec& spec,
                                                      v1::PrivacyPlan& plan) {
  const v1::PrivacySpec& privacy = spec.privacy();
  const accounting::CalibrationTarget target{privacy.epsilon(), plan.accounting_delta(),
                                             plan.sampling_rate()};
  const auto pieces_of = [&](int64_t steps) {
    return CutSchedule(privacy.noise_schedule(), steps, StepsPerEpoch(plan));
  };
  double noise = privacy.noise_multiplier();
  int64_t steps = spec.train().steps();
  if (!privacy.has_noise_multiplier()) {
    ASSIGN_OR_RETURN(noise,
                     accounting::CalibrateNoiseMultiplier(target, NoiseOf(pieces_of(steps))));
  } else if (!spec.train().has_steps()) {
    // Whole epochs: a further step of a begun one costs nothing.
    const int64_t unit = StepsPerEpoch(plan);
    ASSIGN_OR_RETURN(
        const int64_t units,
        accounting::CalibrateSteps(
            target, noise, [&](int64_t count) { return NoiseOf(pieces_of(count * unit)); },
            std::max<int64_t>(1, StepsLimit(privacy.noise_schedule()) / unit)));
    steps = units * unit;
  }
  std::vector<SchedulePiece> pieces = pieces_of(steps);
  const std::vector<accounting::NoisePiece> all = NoiseOf(pieces);
  ASSIGN_OR_RETURN(const accounting::EpsilonCurve curve,
                   accounting::CurveOf(all, plan.sampling_rate(), noise, plan.accounting_delta()));
  plan.set_noise_multiplier(noise);
  plan.set_planned_steps(steps);
  plan.set_epsilon(curve.At(accounting::CompositionsOf(all)).epsilon);
  return pieces;
}

// Shares the joint noise out. Metrics without a multiplier of their own get one that leaves the
// gradient at least 0.98 of it, however large the joint noise is.
absl::Status SplitNoise(const v1::MetricsPrivacySpec& metrics, v1::PrivacyPlan& plan) {
  const double unset = kMetricsMultiplier * std::max(1.0, plan.noise_multiplier());
  std::vector<double> multipliers = {
      metrics.has_loss_multiplier() ? metrics.loss_multiplier() : unset,
      metrics.has_clip_fraction_multiplier() ? metrics.clip_fraction_multiplier() : unset};
  if (metrics.has_accuracy_multiplier()) multipliers.push_back(metrics.accuracy_multiplier());
  ASSIGN_OR_RETURN(const double gradient,
                   accounting::GradientNoiseMultiplier(plan.noise_multiplier(), multipliers));
  plan.set_gradient_noise_multiplier(gradient);
  plan.set_loss_noise_multiplier(multipliers[0]);
  plan.set_clip_fraction_noise_multiplier(multipliers[1]);
  plan.set_accuracy_noise_multiplier(metrics.accuracy_multiplier());
  return absl::OkStatus();
}

// Every multiplier follows the schedule's factor, so that s_eff does too.
void AddSegments(const std::vector<SchedulePiece>& pieces, double crash_reserve,
                 v1::PrivacyPlan& plan) {
  // The reserve is a share of all compositions: rounded up once, not in every segment.
  int64_t planned = 0;
  int64_t charged = 0;
  for (const SchedulePiece& piece : pieces) {
    v1::NoiseSegment& segment = *plan.add_segments();
    const double factor = piece.noise.factor;
    segment.set_first_step(piece.first_step);
    segment.set_factor(factor);
    segment.set_noise_multiplier(factor * plan.noise_multiplier());
    segment.set_gradient_noise_multiplier(factor * plan.gradient_noise_multiplier());
    segment.set_loss_noise_multiplier(factor * plan.loss_noise_multiplier());
    segment.set_clip_fraction_noise_multiplier(factor * plan.clip_fraction_noise_multiplier());
    segment.set_accuracy_noise_multiplier(factor * plan.accuracy_noise_multiplier());
    planned += piece.noise.compositions;
    segment.set_charged_steps(WithReserve(planned, crash_reserve) - charged);
    charged += segment.charged_steps();
  }
  plan.set_charged_steps(charged);
}

void SetClipNormApplied(v1::PrivacyPlan& plan) {
  plan.set_clip_margin(
      std::max(std::ldexp(1.0, -14), static_cast<double>(plan.batch_cap()) * std::ldexp(1.0, -23)));
  plan.set_clip_norm_applied(plan.clip_norm() * (1 - plan.clip_margin()));
}

// Returns the step's truncation cost: batches of a known size are never cut.
absl::StatusOr<double> SetCap(const v1::DatasetFacts& dataset, double epsilon, double delta,
                              v1::PrivacyPlan& plan) {
  accounting::BatchCap cap;
  switch (plan.sampler().kind()) {
    case v1::SamplerPlan::SHUFFLED:
      cap.examples = plan.sampler().batch_places();
      break;
    case v1::SamplerPlan::FULL_BATCH:
      cap.examples = dataset.max_records();
      break;
    default: {
      ASSIGN_OR_RETURN(
          cap, accounting::ChooseBatchCap({.max_records = dataset.max_records(),
                                           .sampling_rate = plan.sampling_rate(),
                                           .steps = plan.charged_steps(),
                                           .epsilon = std::max(epsilon, kSmallestCapEpsilon),
                                           .delta = delta}));
    }
  }
  plan.set_batch_cap(cap.examples);
  SetClipNormApplied(plan);
  return cap.step_truncation_delta;
}

absl::Status SetCharges(const v1::DatasetFacts& dataset, double step_truncation,
                        v1::PrivacyPlan& plan) {
  accounting::ChargeTotals reserved;
  for (v1::NoiseSegment& segment : *plan.mutable_segments()) {
    ASSIGN_OR_RETURN(
        const accounting::StepCharge charge,
        accounting::ChargeOf({plan.sampling_rate(), segment.noise_multiplier()}, step_truncation));
    segment.mutable_step_charge()->Assign(charge.units.begin(), charge.units.end());
    reserved.Add(charge, segment.charged_steps());
  }
  *plan.mutable_step_charge() = plan.segments(0).step_charge();
  plan.set_truncation_delta(step_truncation * static_cast<double>(plan.charged_steps()));
  plan.set_reserved_epsilon(
      accounting::EpsilonOf(reserved, dataset.budgeted() ? dataset.budget_delta() : plan.delta()));
  return absl::OkStatus();
}

absl::Status PlanPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules,
                         v1::PrivacyPlan& plan) {
  plan.set_delta(spec.privacy().delta());
  plan.set_accounting_delta(accounting::kAccountingShare * plan.delta());
  const absl::StatusOr<std::vector<SchedulePiece>> pieces = SolveNoise(spec, plan);
  if (!pieces.ok()) {
    const bool has_target = spec.privacy().has_epsilon();
    rules.Break(
        has_target ? "privacy.epsilon" : "privacy.noise_multiplier",
        absl::StrCat("cannot be planned: ", pieces.status().message()),
        absl::StrCat(has_target ? spec.privacy().epsilon() : spec.privacy().noise_multiplier()));
    return absl::OkStatus();
  }
  if (!spec.train().has_steps()) {
    CheckSchedules(spec.privacy(), plan.planned_steps(), rules);
    if (rules.IsBroken("privacy")) return absl::OkStatus();
  }
  if (const absl::Status status = SplitNoise(spec.privacy().metrics(), plan); !status.ok()) {
    rules.Break("privacy.metrics",
                absl::StrCat("leaves nothing for the gradient: ", status.message()),
                spec.privacy().metrics().ShortDebugString());
    return absl::OkStatus();
  }
  AddSegments(*pieces, spec.privacy().crash_reserve(), plan);
  const bool budgeted = dataset.budgeted();
  ASSIGN_OR_RETURN(
      const double step_truncation,
      SetCap(dataset, budgeted ? dataset.budget_epsilon() : plan.epsilon(),
             budgeted ? std::min(dataset.budget_delta(), plan.delta()) : plan.delta(), plan));
  return SetCharges(dataset, step_truncation, plan);
}

absl::Status PlanNotPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                            v1::PrivacyPlan& plan) {
  plan.set_not_private(true);
  plan.set_noise_multiplier(spec.privacy().fixed_noise_multiplier());
  plan.set_gradient_noise_multiplier(spec.privacy().fixed_noise_multiplier());
  plan.set_planned_steps(spec.train().steps());
  AddSegments(
      CutSchedule(spec.privacy().noise_schedule(), plan.planned_steps(), StepsPerEpoch(plan)),
      /*crash_reserve=*/0, plan);
  return SetCap(dataset, kNominalEpsilon, kNominalDelta, plan).status();
}

v1::SamplerPlan SamplerPlanOf(const v1::JobSpec& spec, const v1::DatasetFacts& dataset) {
  v1::SamplerPlan plan;
  plan.set_kind(v1::SamplerPlan::POISSON);
  plan.set_steps_per_epoch(1);
  if (spec.data().sampler().has_full_batch()) plan.set_kind(v1::SamplerPlan::FULL_BATCH);
  if (spec.data().sampler().has_shuffled()) {
    const auto places = static_cast<int64_t>(spec.train().expected_batch_size());
    plan.set_kind(v1::SamplerPlan::SHUFFLED);
    plan.set_batch_places(places);
    plan.set_steps_per_epoch((dataset.max_records() + places - 1) / places);
  }
  return plan;
}

v1::ClippingPlan ClippingPlanOf(const v1::ClippingSpec& spec) {
  v1::ClippingPlan plan;
  switch (spec.kind_case()) {
    case v1::ClippingSpec::kPerUnit:
      plan.set_rule(v1::ClippingPlan::PER_UNIT);
      break;
    case v1::ClippingSpec::kAutomatic:
      plan.set_rule(v1::ClippingPlan::AUTOMATIC);
      plan.set_gamma(spec.automatic().gamma());
      break;
    case v1::ClippingSpec::kAdaptive:
      plan.set_rule(v1::ClippingPlan::ADAPTIVE);
      plan.set_target_quantile(spec.adaptive().target_quantile());
      plan.set_learning_rate(spec.adaptive().learning_rate());
      plan.set_minimum(spec.adaptive().minimum());
      plan.set_maximum(spec.adaptive().maximum());
      break;
    default:
      plan.set_rule(v1::ClippingPlan::FLAT);
      break;
  }
  return plan;
}

}  // namespace

std::optional<v1::PrivacyPlan> PlanPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                           Rules& rules) {
  v1::PrivacyPlan plan;
  plan.set_adjacency(AdjacencyOf(dataset));
  plan.set_sensitivity_factor(accounting::SensitivityFactor(plan.adjacency()));
  *plan.mutable_sampler() = SamplerPlanOf(spec, dataset);
  *plan.mutable_clipping() = ClippingPlanOf(spec.privacy().clipping());
  plan.set_sampling_rate(plan.sampler().kind() == v1::SamplerPlan::POISSON
                             ? spec.train().expected_batch_size() /
                                   static_cast<double>(dataset.max_records())
                             : 1);
  // Where the spec has none, nothing is scaled with it.
  plan.set_clip_norm(spec.privacy().has_clip_norm() ? spec.privacy().clip_norm() : 1);
  plan.set_max_loss(spec.privacy().metrics().max_loss());
  const absl::Status status = spec.privacy().not_private()
                                  ? PlanNotPrivate(spec, dataset, plan)
                                  : PlanPrivate(spec, dataset, rules, plan);
  // Left are facts of the dataset that are out of range: the ledger's, not the spec's.
  if (!status.ok()) rules.Break("data.dataset", status.message(), dataset.name());
  rules.Require(plan.batch_cap() <= kMaxCap, "train.expected_batch_size",
                absl::StrCat("is too large: the batch cap must be at most ", kMaxCap),
                plan.batch_cap());
  if (rules.IsBroken("privacy") || rules.IsBroken("data") || rules.IsBroken("train")) {
    return std::nullopt;
  }
  return plan;
}

void PlanUnitThresholds(const v1::JobSpec& spec, const v1::ShardingPlan& sharding, Rules& rules,
                        v1::PrivacyPlan& plan) {
  if (plan.clipping().rule() != v1::ClippingPlan::PER_UNIT) return;
  std::vector<int> trained;
  for (int i = 0; i < sharding.units_size(); ++i) {
    if (sharding.units(i).trained_elements() > 0) trained.push_back(i);
  }
  const auto& given = spec.privacy().clipping().per_unit().thresholds();
  if (!given.empty() && !rules.Require(given.size() == static_cast<int>(trained.size()),
                                       "privacy.clipping.per_unit.thresholds",
                                       absl::StrCat("must be one for each of the ", trained.size(),
                                                    " units that have trained parameters"),
                                       given.size())) {
    return;
  }
  // What is given may be off by a rounding; the squares' sum must not be.
  double square_sum = 0;
  for (double threshold : given) square_sum += threshold * threshold;
  const double scale = given.empty()
                           ? plan.clip_norm() / std::sqrt(static_cast<double>(trained.size()))
                           : std::min(1.0, plan.clip_norm() / std::sqrt(square_sum));
  constexpr double kRoundDown = 1 - 1e-12;
  plan.mutable_clipping()->mutable_unit_thresholds()->Resize(sharding.units_size(), 0);
  for (size_t i = 0; i < trained.size(); ++i) {
    const double share = given.empty() ? 1 : given[static_cast<int>(i)];
    plan.mutable_clipping()->set_unit_thresholds(trained[i], share * scale * kRoundDown);
  }
}

}  // namespace sotto::planning
