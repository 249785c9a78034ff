#include "server/planning/spec_rules.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/strategy.h"
#include "server/planning/data_rules.h"
#include "server/planning/model_facts.h"
#include "server/planning/model_rules.h"
#include "server/planning/privacy_rules.h"
#include "server/planning/sharding_rules.h"
#include "server/planning/unsupported_rules.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

constexpr int64_t kMaxMicroBatch = 1024;
constexpr double kLeastBatch = 0.01;  // the noise is divided by it
constexpr Range kLearningRate{1e-12, 1e6, "[1e-12, 1e6]"};
constexpr Range kRateFactor{1e-6, 1e6, "[1e-6, 1e6]"};
constexpr double kLargestDecay = 1e6;
// float32 knows it, and its sum with a square root that is 0.
constexpr Range kAdamwEpsilon{1e-20, 1e6, "[1e-20, 1e6]"};
constexpr Range kSecondMoment{1e-36, 1e12, "[1e-36, 1e12]"};

void CheckLengths(const v1::JobSpec& spec, Rules& rules) {
  const v1::DataSpec& data = spec.data();
  const int32_t longest = MaxLengthOf(spec.model());
  int32_t previous = 0;
  for (int i = 0; i < data.lengths_size(); ++i) {
    const std::string field = absl::StrCat("data.lengths[", i, "]");
    rules.Require(data.lengths(i) > previous, field,
                  absl::StrCat("must be more than ", previous, " (lengths ascend)"),
                  data.lengths(i));
    rules.Require(data.lengths(i) <= longest, field,
                  absl::StrCat("must be at most the model's max_length ", longest),
                  data.lengths(i));
    previous = data.lengths(i);
  }
}

// Decoupled: a step multiplies weights by 1 - learning rate * weight_decay.
void CheckDecay(double decay, const v1::LearningRateSpec& rate, const std::string& field,
                Rules& rules) {
  if (!rules.Require(decay >= 0 && decay <= kLargestDecay, field, "must be in [0, 1e6]", decay)) {
    return;
  }
  if (!kLearningRate.Has(rate.peak())) return;
  rules.Require(decay * rate.peak() <= 1, field,
                absl::StrCat("must be at most 1 / learning_rate.peak, ", 1 / rate.peak(),
                             ", beyond which a step turns weights round"),
                decay);
}

void CheckOptimizer(const v1::TrainSpec& train, Rules& rules) {
  const v1::OptimizerSpec& optimizer = train.optimizer();
  const auto in_unit = [](double value) { return value >= 0 && value < 1; };
  if (optimizer.has_sgd()) {
    rules.Require(in_unit(optimizer.sgd().momentum()), "train.optimizer.sgd.momentum",
                  "must be in [0, 1)", optimizer.sgd().momentum());
    CheckDecay(optimizer.sgd().weight_decay(), train.learning_rate(),
               "train.optimizer.sgd.weight_decay", rules);
  }
  if (optimizer.has_adamw()) {
    const v1::AdamwSpec& adamw = optimizer.adamw();
    rules.Require(in_unit(adamw.beta1()), "train.optimizer.adamw.beta1", "must be in [0, 1)",
                  adamw.beta1());
    rules.Require(in_unit(adamw.beta2()), "train.optimizer.adamw.beta2", "must be in [0, 1)",
                  adamw.beta2());
    SOTTO_REQUIRE_IN(rules, adamw, epsilon, kAdamwEpsilon, "train.optimizer.adamw.epsilon");
    CheckDecay(adamw.weight_decay(), train.learning_rate(), "train.optimizer.adamw.weight_decay",
               rules);
    SOTTO_REQUIRE_IN(rules, adamw.noise_correction(), floor, kSecondMoment,
                     "train.optimizer.adamw.noise_correction.floor");
  }
}

void CheckLearningRate(const v1::TrainSpec& train, Rules& rules) {
  const v1::LearningRateSpec& rate = train.learning_rate();
  rules.Require(kLearningRate.Has(rate.peak()), "train.learning_rate.peak",
                absl::StrCat("must be given, positive, in ", kLearningRate.text),
                rate.has_peak() ? absl::StrCat(rate.peak()) : "");
  rules.Require(
      rate.warmup_steps() >= 0 && (!train.has_steps() || rate.warmup_steps() <= train.steps()),
      "train.learning_rate.warmup_steps", "must be between 0 and train.steps", rate.warmup_steps());
  rules.Require(rate.decay_case() != v1::LearningRateSpec::kConstant || rate.constant(),
                "train.learning_rate.constant", "must be true or left out", "false");
  const auto in_range = [](double fraction) { return fraction >= 0 && fraction <= 1; };
  rules.Require(in_range(rate.cosine().final_fraction()),
                "train.learning_rate.cosine.final_fraction", "must be in [0, 1]",
                rate.cosine().final_fraction());
  rules.Require(in_range(rate.linear().final_fraction()),
                "train.learning_rate.linear.final_fraction", "must be in [0, 1]",
                rate.linear().final_fraction());
  if (!rate.has_step()) return;
  RequireEverySteps(rate.step(), "train.learning_rate.step", rules);
  rules.Require(kRateFactor.Has(rate.step().factor()), "train.learning_rate.step.factor",
                absl::StrCat("must be given, positive, in ", kRateFactor.text),
                rate.step().has_factor() ? absl::StrCat(rate.step().factor()) : "");
  if (train.steps() >= 1) CheckLearningRateReach(rate, train.steps(), rules);
}

void CheckTrain(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  const v1::TrainSpec& train = spec.train();
  const bool all = spec.data().sampler().has_full_batch() && !train.has_expected_batch_size();
  const bool positive =
      all ||
      rules.Require(
          IsPositive(train.expected_batch_size()) && train.expected_batch_size() >= kLeastBatch,
          "train.expected_batch_size", "must be given, finite and at least 0.01",
          train.has_expected_batch_size() ? absl::StrCat(train.expected_batch_size()) : "");
  if (positive && dataset.max_records() >= 1) {
    rules.Require(train.expected_batch_size() <= static_cast<double>(dataset.max_records()),
                  "train.expected_batch_size",
                  absl::StrCat("must be at most the dataset's ", dataset.max_records(), " records"),
                  train.expected_batch_size());
  }
  rules.Require(!train.has_steps() || IsWithin(train.steps(), 1, kMaxSteps), "train.steps",
                "must be 1 to 2^32", train.steps());
  rules.Require(IsWithin(train.micro_batch_size(), 0, kMaxMicroBatch), "train.micro_batch_size",
                "must be 1 to 1024, or left out", train.micro_batch_size());
  rules.Require(v1::LossReduction_IsValid(train.loss_reduction()), "train.loss_reduction",
                "must be a known reduction", static_cast<int>(train.loss_reduction()));
  rules.Require(train.evaluation_every_steps() >= 0, "train.evaluation_every_steps",
                "must be at least 1, or left out", train.evaluation_every_steps());
  rules.Require(
      train.evaluation_every_steps() == 0 || !spec.data().public_evaluation_file().empty(),
      "train.evaluation_every_steps", "needs data.public_evaluation_file",
      train.evaluation_every_steps());
  CheckOptimizer(train, rules);
  CheckLearningRate(train, rules);
}

void CheckNoDp(const v1::JobSpec& spec, Rules& rules) {
  const std::string& mode = spec.gradient().mode();
  const v1::ClippingSpec& clipping = spec.privacy().clipping();
  rules.Require(spec.privacy().not_private(), "gradient.mode",
                "must be one that clips unless privacy.not_private is true", mode);
  rules.Require(clipping.kind_case() == v1::ClippingSpec::KIND_NOT_SET || clipping.has_flat(),
                "privacy.clipping", absl::StrCat("has no meaning with mode ", mode), "");
  rules.Require(!spec.gradient().deferred_norms(), "gradient.deferred_norms",
                absl::StrCat("has no meaning with mode ", mode, ", which takes no norms"), "true");
  if (UsesClipNorm(spec)) return;
  const std::string rule = absl::StrCat("has no meaning with mode ", mode,
                                        ": only noise (fixed_noise_multiplier) would follow it");
  rules.Require(!spec.privacy().has_clip_norm(), "privacy.clip_norm", rule,
                spec.privacy().clip_norm());
  const v1::ScheduleSpec::KindCase schedule = spec.privacy().clip_schedule().kind_case();
  rules.Require(
      schedule == v1::ScheduleSpec::KIND_NOT_SET || schedule == v1::ScheduleSpec::kConstant,
      "privacy.clip_schedule", rule, "");
}

void CheckGradient(const v1::JobSpec& spec, Rules& rules) {
  const v1::GradientSpec& gradient = spec.gradient();
  rules.Require(gradient.memory_limit_bytes() >= 0, "gradient.memory_limit_bytes",
                "must be positive, or left out", gradient.memory_limit_bytes());
  if (gradient.mode().empty() || layout::IsAutomatic(gradient.mode())) return;
  const auto mode = layout::FindNamedMode(gradient.mode());
  if (!mode.has_value()) {
    const auto name = [](std::string* out, const layout::NamedMode& named) {
      absl::StrAppend(out, named.name);
    };
    rules.Break("gradient.mode",
                absl::StrCat("must be one of ", layout::kAutomaticMode, ", ",
                             absl::StrJoin(layout::kGradientModes, ", ", name), ", ",
                             absl::StrJoin(layout::kModeAliases, ", ", name)),
                gradient.mode());
    return;
  }
  if (mode->mode.norm == layout::Norm::kNone) CheckNoDp(spec, rules);
  if (!mode->strategy.has_value() || spec.workers().strategy() == v1::STRATEGY_UNSPECIFIED) return;
  const absl::string_view implied = layout::StrategyName(*mode->strategy);
  const std::string& asked = v1::Strategy_Name(spec.workers().strategy());
  rules.Require(implied == asked, "workers.strategy",
                absl::StrCat("must be ", implied, " with mode ", gradient.mode(), ", or left out"),
                asked);
}

void CheckCheckpoint(const v1::JobSpec& spec, Rules& rules) {
  const v1::CheckpointSpec& checkpoint = spec.checkpoint();
  rules.Require(IsWithin(checkpoint.every_steps(), 0, kMaxSteps), "checkpoint.every_steps",
                "must be at least 1 and at most 2^32, or left out", checkpoint.every_steps());
  rules.Require(checkpoint.keep() >= 0, "checkpoint.keep", "must be at least 1, or left out",
                checkpoint.keep());
  rules.Require(checkpoint.keep_best() >= 0, "checkpoint.keep_best",
                "must be at least 1, or left out", checkpoint.keep_best());
  rules.Require(checkpoint.keep_best() <= 0 || !spec.data().public_evaluation_file().empty(),
                "checkpoint.keep_best",
                "goes by the evaluation loss: needs data.public_evaluation_file",
                checkpoint.keep_best());
}

}  // namespace

void CheckLearningRateReach(const v1::LearningRateSpec& rate, int64_t steps, Rules& rules) {
  if (!rate.has_step() || rules.IsBroken("train.learning_rate")) return;
  const auto changes = static_cast<double>((steps - 1) / rate.step().every_steps());
  const double last = std::log(rate.peak()) + changes * std::log(rate.step().factor());
  rules.Require(last <= std::log(kLearningRate.high), "train.learning_rate.step.factor",
                absl::StrCat("must keep the learning rate at most 1e6 in ", steps, " steps"),
                rate.step().factor());
}

void CheckName(const v1::JobSpec& spec, Rules& rules) {
  const std::string& name = spec.name();
  bool plain = name.size() <= 63;
  for (char c : name) plain &= absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  rules.Require(plain, "name", "must be 1 to 63 of a-z, 0-9 and -", name);
}

void CheckWorkers(const v1::WorkersSpec& workers, const HostFacts& host, Rules& rules) {
  rules.Require(IsWithin(workers.count(), 0, host.slots), "workers.count",
                absl::StrCat("must be 1 to the coordinator's ", host.slots, " slots"),
                workers.count());
  rules.Require(v1::Strategy_IsValid(workers.strategy()), "workers.strategy",
                "must be a known strategy", static_cast<int>(workers.strategy()));
  rules.Require(IsWithin(workers.gathered_slots(), 0, 1024), "workers.gathered_slots",
                "must be 1 to 1024, or left out", workers.gathered_slots());
  const int32_t group = workers.shard_group_size();
  if (workers.strategy() != v1::HYBRID_SHARD) {
    rules.Require(group == 0, "workers.shard_group_size",
                  "must be left out: only HYBRID_SHARD has groups", group);
    return;
  }
  const int32_t count = std::max(1, workers.count());
  rules.Require(
      group >= 0 && (group == 0 ? count % 2 == 0 : count % group == 0), "workers.shard_group_size",
      absl::StrCat("must divide the ", count, " workers", group == 0 ? " (left out: in two)" : ""),
      group);
}

void CheckSpec(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, const HostFacts& host,
               const PlanOptions& options, Rules& rules) {
  CheckName(spec, rules);
  rules.Require(!spec.has_inference(), "inference", "must be left out of a job that trains",
                "given");
  CheckUnsupported(spec, rules);
  CheckModel(spec.model(), rules);
  CheckLengths(spec, rules);
  const bool known = !dataset.name().empty();
  if (!spec.data().dataset().empty()) {
    rules.Require(known, "data.dataset", kUnknownDataset, spec.data().dataset());
  } else {
    rules.Break("data.dataset", "must name a registered dataset", "");
  }
  if (known) CheckDataset(spec, dataset, rules);
  CheckSampler(spec, dataset, known, rules);
  CheckPrivacy(spec, dataset, known, options, rules);
  CheckTrain(spec, dataset, rules);
  CheckWorkers(spec.workers(), host, rules);
  CheckSharding(spec, rules);
  CheckGradient(spec, rules);
  CheckCheckpoint(spec, rules);
}

}  // namespace sotto::planning
