#include "server/planning/privacy_planner.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/accounting/batch_cap.h"
#include "server/accounting/calibration.h"
#include "server/accounting/charge.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"

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

// Of noise_multiplier, steps and epsilon two are given; solves the third.
absl::Status SolveNoise(const v1::JobSpec& spec, v1::PrivacyPlan& plan) {
  const v1::PrivacySpec& privacy = spec.privacy();
  const accounting::CalibrationTarget target{privacy.epsilon(), plan.accounting_delta(),
                                             plan.sampling_rate()};
  double noise = privacy.noise_multiplier();
  int64_t steps = spec.train().steps();
  if (!privacy.has_noise_multiplier()) {
    ASSIGN_OR_RETURN(noise, accounting::CalibrateNoiseMultiplier(target, steps));
  } else if (!spec.train().has_steps()) {
    ASSIGN_OR_RETURN(steps, accounting::CalibrateSteps(target, noise));
  }
  ASSIGN_OR_RETURN(const accounting::EpsilonCurve curve,
                   accounting::EpsilonCurve::Create({plan.sampling_rate(), noise}, steps,
                                                    plan.accounting_delta()));
  plan.set_noise_multiplier(noise);
  plan.set_planned_steps(steps);
  plan.set_charged_steps(steps + static_cast<int64_t>(std::ceil(privacy.crash_reserve() *
                                                                static_cast<double>(steps))));
  plan.set_epsilon(curve.At(steps).epsilon);
  return absl::OkStatus();
}

// Shares the joint noise out. Metrics without a multiplier of their own get one that leaves the
// gradient at least 0.98 of it, however large the joint noise is.
absl::Status SplitNoise(const v1::MetricsPrivacySpec& metrics, v1::PrivacyPlan& plan) {
  const double unset = kMetricsMultiplier * std::max(1.0, plan.noise_multiplier());
  const std::array<double, 2> multipliers = {
      metrics.has_loss_multiplier() ? metrics.loss_multiplier() : unset,
      metrics.has_clip_fraction_multiplier() ? metrics.clip_fraction_multiplier() : unset};
  ASSIGN_OR_RETURN(const double gradient,
                   accounting::GradientNoiseMultiplier(plan.noise_multiplier(), multipliers));
  plan.set_gradient_noise_multiplier(gradient);
  plan.set_loss_noise_multiplier(multipliers[0]);
  plan.set_clip_fraction_noise_multiplier(multipliers[1]);
  return absl::OkStatus();
}

// Returns the step's truncation cost.
absl::StatusOr<double> SetCap(const v1::DatasetFacts& dataset, double epsilon, double delta,
                              v1::PrivacyPlan& plan) {
  ASSIGN_OR_RETURN(const accounting::BatchCap cap,
                   accounting::ChooseBatchCap({.max_records = dataset.max_records(),
                                               .sampling_rate = plan.sampling_rate(),
                                               .steps = plan.charged_steps(),
                                               .epsilon = std::max(epsilon, kSmallestCapEpsilon),
                                               .delta = delta}));
  plan.set_batch_cap(cap.examples);
  const double margin =
      std::max(std::ldexp(1.0, -14), static_cast<double>(cap.examples) * std::ldexp(1.0, -23));
  plan.set_clip_norm_applied(plan.clip_norm() * (1 - margin));
  return cap.step_truncation_delta;
}

absl::Status SetCharge(const v1::DatasetFacts& dataset, double step_truncation,
                       v1::PrivacyPlan& plan) {
  ASSIGN_OR_RETURN(
      const accounting::StepCharge charge,
      accounting::ChargeOf({plan.sampling_rate(), plan.noise_multiplier()}, step_truncation));
  plan.set_truncation_delta(step_truncation * static_cast<double>(plan.charged_steps()));
  plan.mutable_step_charge()->Assign(charge.units.begin(), charge.units.end());
  accounting::ChargeTotals reserved;
  reserved.Add(charge, plan.charged_steps());
  plan.set_reserved_epsilon(
      accounting::EpsilonOf(reserved, dataset.budgeted() ? dataset.budget_delta() : plan.delta()));
  return absl::OkStatus();
}

absl::Status PlanPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules,
                         v1::PrivacyPlan& plan) {
  plan.set_delta(spec.privacy().delta());
  plan.set_accounting_delta(accounting::kAccountingShare * plan.delta());
  if (const absl::Status status = SolveNoise(spec, plan); !status.ok()) {
    const bool has_target = spec.privacy().has_epsilon();
    rules.Break(
        has_target ? "privacy.epsilon" : "privacy.noise_multiplier",
        absl::StrCat("cannot be planned: ", status.message()),
        absl::StrCat(has_target ? spec.privacy().epsilon() : spec.privacy().noise_multiplier()));
    return absl::OkStatus();
  }
  if (const absl::Status status = SplitNoise(spec.privacy().metrics(), plan); !status.ok()) {
    rules.Break("privacy.metrics",
                absl::StrCat("leaves nothing for the gradient: ", status.message()),
                spec.privacy().metrics().ShortDebugString());
    return absl::OkStatus();
  }
  const bool budgeted = dataset.budgeted();
  ASSIGN_OR_RETURN(
      const double step_truncation,
      SetCap(dataset, budgeted ? dataset.budget_epsilon() : plan.epsilon(),
             budgeted ? std::min(dataset.budget_delta(), plan.delta()) : plan.delta(), plan));
  return SetCharge(dataset, step_truncation, plan);
}

absl::Status PlanNotPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                            v1::PrivacyPlan& plan) {
  plan.set_not_private(true);
  plan.set_noise_multiplier(spec.privacy().fixed_noise_multiplier());
  plan.set_gradient_noise_multiplier(spec.privacy().fixed_noise_multiplier());
  plan.set_planned_steps(spec.train().steps());
  plan.set_charged_steps(spec.train().steps());
  return SetCap(dataset, kNominalEpsilon, kNominalDelta, plan).status();
}

}  // namespace

std::optional<v1::PrivacyPlan> PlanPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                           Rules& rules) {
  v1::PrivacyPlan plan;
  plan.set_sampling_rate(spec.train().expected_batch_size() /
                         static_cast<double>(dataset.max_records()));
  plan.set_clip_norm(spec.privacy().clip_norm());
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

}  // namespace sotto::planning
