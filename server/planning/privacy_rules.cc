#include "server/planning/privacy_rules.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/accounting/adjacency.h"
#include "server/planning/image_models.h"
#include "server/planning/model_facts.h"
#include "server/planning/noise_schedule.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

// Below the least, accounting is an upper bound alone, and the promise is next to none.
constexpr Range kNoise{0.02, 1e6, "[0.02, 1e6]"};
// The noise that the plan picks, 8 times the joint one, is in it.
constexpr Range kMetricsNoise{1e-6, 1e7, "[1e-6, 1e7]"};
constexpr Range kMaxLoss{1e-9, 1e9, "[1e-9, 1e9]"};
// The least is the worker's: dp::AutomaticClipping::kLeastGamma. Beside the largest every gradient
// would be nothing.
constexpr Range kGamma{1e-9, 1e6, "[1e-9, 1e6]"};
// Of log C, per step and share of clipped examples: at the largest, one step may move C by e^10.
constexpr Range kThresholdRate{1e-6, 10, "[1e-6, 10]"};
constexpr double kLargestFixedNoise = 1e6;

void CheckMetrics(const v1::JobSpec& spec, Rules& rules) {
  const v1::MetricsPrivacySpec& metrics = spec.privacy().metrics();
  SOTTO_REQUIRE_IN(rules, metrics, max_loss, kMaxLoss, "privacy.metrics.max_loss");
  SOTTO_REQUIRE_IN(rules, metrics, loss_multiplier, kMetricsNoise,
                   "privacy.metrics.loss_multiplier");
  SOTTO_REQUIRE_IN(rules, metrics, clip_fraction_multiplier, kMetricsNoise,
                   "privacy.metrics.clip_fraction_multiplier");
  if (!metrics.has_accuracy_multiplier()) return;
  constexpr char kAccuracy[] = "privacy.metrics.accuracy_multiplier";
  SOTTO_REQUIRE_IN(rules, metrics, accuracy_multiplier, kMetricsNoise, kAccuracy);
  rules.Require(IsClassifier(spec.model()), kAccuracy, "needs a model that finds labels",
                metrics.accuracy_multiplier());
  rules.Require(!spec.privacy().not_private(), kAccuracy,
                "has no meaning with privacy.not_private: accuracy leaves with its noise alone",
                metrics.accuracy_multiplier());
}

void CheckPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                  Rules& rules) {
  const v1::PrivacySpec& privacy = spec.privacy();
  const int given =
      privacy.has_epsilon() + privacy.has_noise_multiplier() + spec.train().has_steps();
  rules.Require(given == 2, "privacy",
                "needs two of epsilon, noise_multiplier and train.steps; the third follows",
                absl::StrCat(given, " of them"));
  SOTTO_REQUIRE_POSITIVE(rules, privacy, epsilon, "privacy.epsilon");
  SOTTO_REQUIRE_IN(rules, privacy, noise_multiplier, kNoise, "privacy.noise_multiplier");
  rules.Require(!privacy.has_delta() || (privacy.delta() > 0 && privacy.delta() < 1),
                "privacy.delta", "must be in (0, 1)", privacy.delta());
  if (dataset_known) {
    rules.Require(privacy.has_delta() || dataset.budgeted(), "privacy.delta",
                  "must be given: the dataset has no budget to take it from", "");
  }
  rules.Require(!privacy.has_crash_reserve() ||
                    (privacy.crash_reserve() >= 0 && privacy.crash_reserve() <= 1),
                "privacy.crash_reserve", "must be in [0, 1]", privacy.crash_reserve());
  rules.Require(!privacy.has_seed(), "privacy.seed", "must not be given to a private job",
                privacy.seed());
  rules.Require(!privacy.has_fixed_noise_multiplier(), "privacy.fixed_noise_multiplier",
                "must not be given to a private job", privacy.fixed_noise_multiplier());
}

void CheckNotPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                     const PlanOptions& options, Rules& rules) {
  const v1::PrivacySpec& privacy = spec.privacy();
  constexpr char kNotWithNotPrivate[] = "must not be given to a job that is not private";
  rules.Require(!privacy.has_epsilon(), "privacy.epsilon", kNotWithNotPrivate, privacy.epsilon());
  rules.Require(!privacy.has_noise_multiplier(), "privacy.noise_multiplier",
                "must not be given to a job that is not private (fixed_noise_multiplier may)",
                privacy.noise_multiplier());
  rules.Require(!privacy.has_delta(), "privacy.delta", kNotWithNotPrivate, privacy.delta());
  rules.Require(!privacy.has_crash_reserve(), "privacy.crash_reserve", kNotWithNotPrivate,
                privacy.crash_reserve());
  rules.Require(!privacy.has_fixed_noise_multiplier() ||
                    (privacy.fixed_noise_multiplier() >= 0 &&
                     privacy.fixed_noise_multiplier() <= kLargestFixedNoise),
                "privacy.fixed_noise_multiplier", "must be in [0, 1e6]",
                privacy.fixed_noise_multiplier());
  rules.Require(spec.train().has_steps(), "train.steps", "must be given", "");
  if (dataset_known) {
    rules.Require(
        !dataset.budgeted() || options.data_steward, "privacy.not_private",
        absl::StrCat("needs a data steward: dataset ", dataset.name(), " has a privacy budget"),
        "true");
  }
}

double NormOf(const v1::PerUnitClipping& per_unit) {
  double square_sum = 0;
  for (const double threshold : per_unit.thresholds()) square_sum += threshold * threshold;
  return std::sqrt(square_sum);
}

// C of the first step.
double FirstClipNorm(const v1::PrivacySpec& privacy) {
  if (privacy.has_clip_norm()) return privacy.clip_norm();
  const v1::PerUnitClipping& per_unit = privacy.clipping().per_unit();
  return per_unit.thresholds_size() > 0 ? NormOf(per_unit) : 1;
}

void CheckPerUnit(const v1::PrivacySpec& privacy, Rules& rules) {
  bool positive = true;
  const v1::PerUnitClipping& per_unit = privacy.clipping().per_unit();
  for (int i = 0; i < per_unit.thresholds_size(); ++i) {
    const double threshold = per_unit.thresholds(i);
    positive &= rules.Require(IsPositive(threshold),
                              absl::StrCat("privacy.clipping.per_unit.thresholds[", i, "]"),
                              "must be finite and positive", threshold);
  }
  if (per_unit.thresholds_size() == 0 || !positive) return;
  const double norm = NormOf(per_unit);
  if (!privacy.has_clip_norm()) {
    rules.Require(IsClipNorm(norm), "privacy.clipping.per_unit.thresholds",
                  "must have a norm in [1e-12, 1e12]", absl::StrCat("a norm of ", norm));
    return;
  }
  constexpr double kTypedDigits = 1e-4;  // thresholds are written with a few digits
  rules.Require(std::abs(norm / privacy.clip_norm() - 1) <= kTypedDigits,
                "privacy.clipping.per_unit.thresholds",
                absl::StrCat("must have squares that add up to the square of clip_norm ",
                             privacy.clip_norm(), " (or leave clip_norm out)"),
                absl::StrCat("a norm of ", norm));
}

void CheckAdaptive(const v1::PrivacySpec& privacy, Rules& rules) {
  const v1::AdaptiveClipping& adaptive = privacy.clipping().adaptive();
  // A noised share of a batch does not tell quantiles nearer to 0 or 1 from them.
  rules.Require(!adaptive.has_target_quantile() ||
                    (adaptive.target_quantile() >= 0.001 && adaptive.target_quantile() <= 0.999),
                "privacy.clipping.adaptive.target_quantile", "must be in [0.001, 0.999]",
                adaptive.target_quantile());
  SOTTO_REQUIRE_IN(rules, adaptive, learning_rate, kThresholdRate,
                   "privacy.clipping.adaptive.learning_rate");
  SOTTO_REQUIRE_CLIP_NORM(rules, adaptive, minimum, "privacy.clipping.adaptive.minimum");
  SOTTO_REQUIRE_CLIP_NORM(rules, adaptive, maximum, "privacy.clipping.adaptive.maximum");
  const double first = privacy.has_clip_norm() ? privacy.clip_norm() : 1;
  rules.Require(
      !adaptive.has_minimum() || !(adaptive.minimum() > first), "privacy.clipping.adaptive.minimum",
      absl::StrCat("must be at most clip_norm ", first, ", where C begins"), adaptive.minimum());
  rules.Require(
      !adaptive.has_maximum() || !(adaptive.maximum() < first), "privacy.clipping.adaptive.maximum",
      absl::StrCat("must be at least clip_norm ", first, ", where C begins"), adaptive.maximum());
  rules.Require(!privacy.has_clip_schedule() || privacy.clip_schedule().has_constant() ||
                    privacy.clip_schedule().kind_case() == v1::ScheduleSpec::KIND_NOT_SET,
                "privacy.clip_schedule", "excludes clipping.adaptive: one of them changes C", "");
}

void CheckClipping(const v1::PrivacySpec& privacy, Rules& rules) {
  const v1::ClippingSpec& clipping = privacy.clipping();
  SOTTO_REQUIRE_CLIP_NORM(rules, privacy, clip_norm, "privacy.clip_norm");
  if (clipping.has_per_unit()) CheckPerUnit(privacy, rules);
  if (clipping.has_automatic()) {
    SOTTO_REQUIRE_IN(rules, clipping.automatic(), gamma, kGamma,
                     "privacy.clipping.automatic.gamma");
  }
  if (clipping.has_adaptive()) CheckAdaptive(privacy, rules);
}

void CheckFinalFraction(bool given, double fraction, const std::string& field, Rules& rules) {
  rules.Require(given && fraction >= 1 / kLargestFactor && fraction <= kLargestFactor, field,
                "must be given, and in [1e-6, 1e6]", given ? absl::StrCat(fraction) : "");
}

void CheckStairs(const v1::StepDecay& step, const std::string& field, Rules& rules) {
  RequireEverySteps(step, field, rules);
  rules.Require(IsPositive(step.factor()), absl::StrCat(field, ".factor"),
                "must be given, finite and positive",
                step.has_factor() ? absl::StrCat(step.factor()) : "");
}

void CheckSchedule(const v1::ScheduleSpec& schedule, const std::string& field, Rules& rules) {
  if (schedule.has_linear()) {
    CheckFinalFraction(schedule.linear().has_final_fraction(), schedule.linear().final_fraction(),
                       absl::StrCat(field, ".linear.final_fraction"), rules);
  }
  if (schedule.has_cosine()) {
    CheckFinalFraction(schedule.cosine().has_final_fraction(), schedule.cosine().final_fraction(),
                       absl::StrCat(field, ".cosine.final_fraction"), rules);
  }
  if (schedule.has_step()) {
    CheckStairs(schedule.step(), absl::StrCat(field, ".step"), rules);
  }
}

void CheckReach(const v1::ScheduleSpec& schedule, int64_t steps, const std::string& field,
                Rules& rules) {
  if (!schedule.has_step() || rules.IsBroken(field)) return;
  const double changes = static_cast<double>((steps - 1) / schedule.step().every_steps());
  rules.Require(std::abs(changes * std::log(schedule.step().factor())) <= std::log(kLargestFactor),
                absl::StrCat(field, ".step.factor"),
                absl::StrCat("must keep the schedule within 1e-6 and 1e6 of its first value in ",
                             steps, " steps"),
                schedule.step().factor());
}

// Each piece is a mechanism of its own to the accountant and the ledger.
void CheckNoiseStairs(const v1::JobSpec& spec, Rules& rules) {
  const v1::ScheduleSpec& schedule = spec.privacy().noise_schedule();
  if (!schedule.has_step() || schedule.step().every_steps() < 1 || !spec.train().has_steps()) {
    return;
  }
  const int64_t stairs = CountStairs(schedule, spec.train().steps());
  rules.Require(stairs <= kMostPieces, "privacy.noise_schedule.step.every_steps",
                absl::StrCat("must change the noise at most ", kMostPieces - 1, " times in ",
                             spec.train().steps(), " steps"),
                schedule.step().every_steps());
}

void CheckShuffled(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                   Rules& rules) {
  const v1::TrainSpec& train = spec.train();
  if (dataset_known && !spec.privacy().not_private()) {
    rules.Require(AdjacencyOf(dataset) != accounting::kAddOrRemoveOne, "data.sampler.shuffled",
                  "cannot be accounted under add_or_remove_one, where a record more or less moves "
                  "others to other batches: use poisson, or register the data with adjacency "
                  "zero_out or replace_one",
                  AdjacencyOf(dataset));
  }
  const double places = train.expected_batch_size();
  if (!IsPositive(places)) return;
  if (!rules.Require(places >= 1 && places == std::floor(places), "train.expected_batch_size",
                     "must be a whole number with data.sampler.shuffled", places)) {
    return;
  }
  const v1::ScheduleSpec& noise = spec.privacy().noise_schedule();
  if (!dataset_known || dataset.max_records() < 1 || !noise.has_step()) return;
  const auto whole = static_cast<int64_t>(places);
  const int64_t epoch = (dataset.max_records() + whole - 1) / whole;
  rules.Require(
      noise.step().every_steps() % epoch == 0, "privacy.noise_schedule.step.every_steps",
      absl::StrCat("must be whole epochs of ", epoch, " steps with data.sampler.shuffled"),
      noise.step().every_steps());
}

}  // namespace

void CheckSchedules(const v1::PrivacySpec& privacy, int64_t steps, Rules& rules) {
  CheckReach(privacy.clip_schedule(), steps, "privacy.clip_schedule", rules);
  CheckReach(privacy.noise_schedule(), steps, "privacy.noise_schedule", rules);
  const double first = FirstClipNorm(privacy);
  if (!IsClipNorm(first) || rules.IsBroken("privacy.clip_schedule")) return;
  // From the first to the last step a schedule rises or falls.
  const double last = first * ScheduleOf(privacy.clip_schedule(), steps).FractionAt(steps - 1);
  rules.Require(IsClipNorm(last), "privacy.clip_schedule",
                "must keep the clip norm in [1e-12, 1e12] up to the last step",
                absl::StrCat("one of ", last));
}

void CheckSampler(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                  Rules& rules) {
  const v1::SamplerSpec& sampler = spec.data().sampler();
  if (sampler.has_shuffled()) return CheckShuffled(spec, dataset, dataset_known, rules);
  if (!dataset_known) return;
  if (sampler.has_full_batch()) {
    const auto all = static_cast<double>(dataset.max_records());
    rules.Require(
        !spec.train().has_expected_batch_size() || spec.train().expected_batch_size() == all,
        "train.expected_batch_size",
        absl::StrCat("must be the dataset's max_records ", dataset.max_records(),
                     " with data.sampler.full_batch, or left out"),
        spec.train().expected_batch_size());
    return;
  }
  rules.Require(spec.privacy().not_private() || AdjacencyOf(dataset) != accounting::kReplaceOne,
                "data.sampler.poisson",
                "is not accounted under replace_one: use shuffled or full_batch, or register the "
                "data with adjacency add_or_remove_one or zero_out",
                AdjacencyOf(dataset));
}

void CheckPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, bool dataset_known,
                  const PlanOptions& options, Rules& rules) {
  CheckMetrics(spec, rules);
  CheckClipping(spec.privacy(), rules);
  CheckSchedule(spec.privacy().clip_schedule(), "privacy.clip_schedule", rules);
  CheckSchedule(spec.privacy().noise_schedule(), "privacy.noise_schedule", rules);
  if (spec.train().steps() >= 1) CheckSchedules(spec.privacy(), spec.train().steps(), rules);
  CheckNoiseStairs(spec, rules);
  if (spec.privacy().not_private()) {
    CheckNotPrivate(spec, dataset, dataset_known, options, rules);
  } else {
    CheckPrivate(spec, dataset, dataset_known, rules);
  }
}

}  // namespace sotto::planning
