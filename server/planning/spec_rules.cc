#include "server/planning/spec_rules.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/layout/gradient_mode.h"

namespace sotto::planning {
namespace {

constexpr int64_t kMaxSteps = int64_t{1} << 32;
constexpr int64_t kMaxRecordTokens = 1 << 16;
constexpr int64_t kMaxMicroBatch = 1024;

bool IsPositive(double value) { return value > 0 && std::isfinite(value); }
bool IsNonNegative(double value) { return value >= 0 && std::isfinite(value); }
bool IsWithin(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

// An optional double field that must be positive when it is given.
#define SOTTO_REQUIRE_POSITIVE(rules, message, name, field)                       \
  (rules).Require(!(message).has_##name() || IsPositive((message).name()), field, \
                  "must be finite and positive", (message).name())
#define SOTTO_REQUIRE_NON_NEGATIVE(rules, message, name, field)                      \
  (rules).Require(!(message).has_##name() || IsNonNegative((message).name()), field, \
                  "must be finite and at least 0", (message).name())

void CheckName(const v1::JobSpec& spec, Rules& rules) {
  const std::string& name = spec.name();
  bool plain = name.size() <= 63;
  for (char c : name) plain &= absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  rules.Require(plain, "name", "must be 1 to 63 of a-z, 0-9 and -", name);
}

void CheckModel(const v1::ModelSpec& model, Rules& rules) {
  if (!rules.Require(model.has_gpt2(), "model", "must name a family: gpt2", "")) return;
  const v1::Gpt2Spec& gpt2 = model.gpt2();
  rules.Require(IsWithin(gpt2.vocabulary_size(), 2, 1 << 20), "model.gpt2.vocabulary_size",
                "must be 2 to 1048576", gpt2.vocabulary_size());
  rules.Require(IsWithin(gpt2.width(), 1, 1 << 16), "model.gpt2.width", "must be 1 to 65536",
                gpt2.width());
  rules.Require(IsWithin(gpt2.layers(), 1, 1024), "model.gpt2.layers", "must be 1 to 1024",
                gpt2.layers());
  rules.Require(IsWithin(gpt2.max_length(), 1, kMaxRecordTokens), "model.gpt2.max_length",
                "must be 1 to 65536", gpt2.max_length());
  if (rules.Require(gpt2.heads() >= 1, "model.gpt2.heads", "must be at least 1", gpt2.heads())) {
    rules.Require(gpt2.width() % gpt2.heads() == 0, "model.gpt2.heads",
                  absl::StrCat("must divide the width ", gpt2.width()), gpt2.heads());
  }
  rules.Require(IsNonNegative(gpt2.layer_norm_epsilon()), "model.gpt2.layer_norm_epsilon",
                "must be finite and positive", gpt2.layer_norm_epsilon());
  rules.Require(IsNonNegative(gpt2.init_stddev()), "model.gpt2.init_stddev",
                "must be finite and positive", gpt2.init_stddev());
}

void CheckData(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  const v1::DataSpec& data = spec.data();
  const int32_t longest = spec.model().gpt2().max_length();
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
  if (!rules.Require(!data.dataset().empty(), "data.dataset", "must name a registered dataset",
                     "")) {
    return;
  }
  rules.Require(dataset.max_records() >= 1, "data.dataset", "must declare at least one record",
                dataset.max_records());
  rules.Require(!spec.model().has_gpt2() ||
                    spec.model().gpt2().vocabulary_size() >= dataset.vocabulary_size(),
                "model.gpt2.vocabulary_size",
                absl::StrCat("must be at least the dataset's ", dataset.vocabulary_size()),
                spec.model().gpt2().vocabulary_size());
}

void CheckMetrics(const v1::MetricsPrivacySpec& metrics, Rules& rules) {
  SOTTO_REQUIRE_POSITIVE(rules, metrics, max_loss, "privacy.metrics.max_loss");
  SOTTO_REQUIRE_POSITIVE(rules, metrics, loss_multiplier, "privacy.metrics.loss_multiplier");
  SOTTO_REQUIRE_POSITIVE(rules, metrics, clip_fraction_multiplier,
                         "privacy.metrics.clip_fraction_multiplier");
}

void CheckPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  const v1::PrivacySpec& privacy = spec.privacy();
  const int given =
      privacy.has_epsilon() + privacy.has_noise_multiplier() + spec.train().has_steps();
  rules.Require(given == 2, "privacy",
                "needs two of epsilon, noise_multiplier and train.steps; the third follows",
                absl::StrCat(given, " of them"));
  SOTTO_REQUIRE_POSITIVE(rules, privacy, epsilon, "privacy.epsilon");
  SOTTO_REQUIRE_POSITIVE(rules, privacy, noise_multiplier, "privacy.noise_multiplier");
  rules.Require(!privacy.has_delta() || (privacy.delta() > 0 && privacy.delta() < 1),
                "privacy.delta", "must be in (0, 1)", privacy.delta());
  if (!spec.data().dataset().empty()) {
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

void CheckNotPrivate(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
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
  SOTTO_REQUIRE_NON_NEGATIVE(rules, privacy, fixed_noise_multiplier,
                             "privacy.fixed_noise_multiplier");
  rules.Require(spec.train().has_steps(), "train.steps", "must be given", "");
  if (!spec.data().dataset().empty()) {
    rules.Require(
        !dataset.budgeted() || options.data_steward, "privacy.not_private",
        absl::StrCat("needs a data steward: dataset ", dataset.name(), " has a privacy budget"),
        "true");
  }
}

void CheckPrivacy(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                  const PlanOptions& options, Rules& rules) {
  SOTTO_REQUIRE_POSITIVE(rules, spec.privacy(), clip_norm, "privacy.clip_norm");
  CheckMetrics(spec.privacy().metrics(), rules);
  if (spec.privacy().not_private()) {
    CheckNotPrivate(spec, dataset, options, rules);
  } else {
    CheckPrivate(spec, dataset, rules);
  }
}

void CheckOptimizer(const v1::OptimizerSpec& optimizer, Rules& rules) {
  const auto in_unit = [](double value) { return value >= 0 && value < 1; };
  if (optimizer.has_sgd()) {
    rules.Require(in_unit(optimizer.sgd().momentum()), "train.optimizer.sgd.momentum",
                  "must be in [0, 1)", optimizer.sgd().momentum());
    SOTTO_REQUIRE_NON_NEGATIVE(rules, optimizer.sgd(), weight_decay,
                               "train.optimizer.sgd.weight_decay");
  }
  if (optimizer.has_adamw()) {
    const v1::AdamwSpec& adamw = optimizer.adamw();
    rules.Require(in_unit(adamw.beta1()), "train.optimizer.adamw.beta1", "must be in [0, 1)",
                  adamw.beta1());
    rules.Require(in_unit(adamw.beta2()), "train.optimizer.adamw.beta2", "must be in [0, 1)",
                  adamw.beta2());
    SOTTO_REQUIRE_POSITIVE(rules, adamw, epsilon, "train.optimizer.adamw.epsilon");
    SOTTO_REQUIRE_NON_NEGATIVE(rules, adamw, weight_decay, "train.optimizer.adamw.weight_decay");
  }
}

void CheckLearningRate(const v1::TrainSpec& train, Rules& rules) {
  const v1::LearningRateSpec& rate = train.learning_rate();
  rules.Require(rate.has_peak() && IsPositive(rate.peak()), "train.learning_rate.peak",
                "must be given, finite and positive",
                rate.has_peak() ? absl::StrCat(rate.peak()) : "");
  rules.Require(
      rate.warmup_steps() >= 0 && (!train.has_steps() || rate.warmup_steps() <= train.steps()),
      "train.learning_rate.warmup_steps", "must be between 0 and train.steps", rate.warmup_steps());
  rules.Require(rate.decay_case() != v1::LearningRateSpec::kConstant || rate.constant(),
                "train.learning_rate.constant", "must be true or left out", "false");
  const double fraction = rate.cosine().final_fraction();
  rules.Require(fraction >= 0 && fraction <= 1, "train.learning_rate.cosine.final_fraction",
                "must be in [0, 1]", fraction);
}

void CheckTrain(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  const v1::TrainSpec& train = spec.train();
  const bool positive = rules.Require(
      IsPositive(train.expected_batch_size()), "train.expected_batch_size",
      "must be given, finite and positive",
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
  CheckOptimizer(train.optimizer(), rules);
  CheckLearningRate(train, rules);
}

void CheckWorkers(const v1::WorkersSpec& workers, const HostFacts& host, Rules& rules) {
  rules.Require(IsWithin(workers.count(), 0, host.slots), "workers.count",
                absl::StrCat("must be 1 to the coordinator's ", host.slots, " slots"),
                workers.count());
  rules.Require(v1::Strategy_IsValid(workers.strategy()), "workers.strategy",
                "must be a known strategy", static_cast<int>(workers.strategy()));
  rules.Require(IsWithin(workers.gathered_slots(), 0, 1024), "workers.gathered_slots",
                "must be 1 to 1024, or left out", workers.gathered_slots());
}

void CheckGradient(const v1::JobSpec& spec, Rules& rules) {
  const v1::GradientSpec& gradient = spec.gradient();
  rules.Require(gradient.memory_limit_bytes() >= 0, "gradient.memory_limit_bytes",
                "must be positive, or left out", gradient.memory_limit_bytes());
  if (gradient.mode().empty()) return;
  const auto mode = layout::FindMode(gradient.mode());
  if (!mode.has_value()) {
    rules.Break("gradient.mode",
                absl::StrCat("must be one of ",
                             absl::StrJoin(layout::kGradientModes, ", ",
                                           [](std::string* out, const layout::NamedMode& named) {
                                             absl::StrAppend(out, named.name);
                                           })),
                gradient.mode());
    return;
  }
  if (mode->norm == layout::Norm::kNone) {
    rules.Require(spec.privacy().not_private(), "gradient.mode",
                  "does not clip: privacy.not_private must be true", gradient.mode());
    rules.Require(
        spec.privacy().fixed_noise_multiplier() == 0, "privacy.fixed_noise_multiplier",
        absl::StrCat("has no meaning with mode ", gradient.mode(), ", which does not clip"),
        spec.privacy().fixed_noise_multiplier());
  }
}

void CheckCheckpoint(const v1::CheckpointSpec& checkpoint, Rules& rules) {
  rules.Require(checkpoint.every_steps() >= 0, "checkpoint.every_steps",
                "must be at least 1, or left out", checkpoint.every_steps());
  rules.Require(checkpoint.keep() >= 0, "checkpoint.keep", "must be at least 1, or left out",
                checkpoint.keep());
}

}  // namespace

void CheckSpec(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, const HostFacts& host,
               const PlanOptions& options, Rules& rules) {
  CheckName(spec, rules);
  CheckModel(spec.model(), rules);
  CheckData(spec, dataset, rules);
  CheckPrivacy(spec, dataset, options, rules);
  CheckTrain(spec, dataset, rules);
  CheckWorkers(spec.workers(), host, rules);
  CheckGradient(spec, rules);
  CheckCheckpoint(spec.checkpoint(), rules);
}

}  // namespace sotto::planning
