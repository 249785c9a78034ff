#include "tools/check/mode_comparison.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "server/accounting/offline.h"
#include "tools/check/oracle.h"
#include "tools/check/recorded_training.h"

namespace sotto::check {
namespace {

using Progress = std::function<void(const std::string&)>;

class Comparison {
 public:
  Comparison(const Preset& preset, const std::string& checkpoint_folder, const Progress& progress)
      : checkpoint_folder_(checkpoint_folder), progress_(progress), result_{.preset = preset} {}

  absl::StatusOr<ModeComparison> Run() {
    PutReferenceFirst();
    ASSIGN_OR_RETURN(training_, RecordedTraining::Create(result_.preset.settings));
    RETURN_IF_ERROR(CheckModes());
    RETURN_IF_ERROR(ChooseClipNorm());
    RETURN_IF_ERROR(AccountForNoise());
    RETURN_IF_ERROR(TrainOracles());
    RETURN_IF_ERROR(CheckGradients());
    SetDistanceLimit();
    for (const ModeChoice& mode : result_.preset.modes) TrainMode(mode);
    CompareAll();
    return std::move(result_);
  }

 private:
  void PutReferenceFirst() {
    std::vector<ModeChoice>& modes = result_.preset.modes;
    std::stable_partition(modes.begin(), modes.end(), [&](const ModeChoice& mode) {
      return mode.Label() == result_.preset.reference;
    });
  }

  // Before minutes of work: whether every mode can be planned.
  absl::Status CheckModes() const {
    for (const ModeChoice& mode : result_.preset.modes) {
      const absl::Status status = training_->Plan(mode).status();
      if (status.ok()) continue;
      return absl::Status(status.code(), absl::StrCat(mode.Label(), ": ", status.message()));
    }
    return absl::OkStatus();
  }

  // The plan that says what all modes have in common: any mode's that clips, if there is one.
  absl::StatusOr<v1::JobPlan> CommonPlan() const {
    return training_->Plan({.name = "per_example"});
  }

  absl::Status ChooseClipNorm() {
    ASSIGN_OR_RETURN(const v1::JobPlan plan, CommonPlan());
    result_.parameters = plan.train().parameters();
    for (const v1::UnitPlan& unit : plan.sharding().units()) {
      result_.trained_parameters += unit.trained_elements();
    }
    if (!result_.preset.clips_half) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::unique_ptr<Oracle> oracle, Oracle::Create(plan));
    RunSettings& settings = result_.preset.settings;
    settings.clip_norm = oracle->MedianGradientNorm();
    training_->set_clip_norm(settings.clip_norm);
    progress_(absl::StrFormat("clip norm %.4g: the median norm of the examples' first gradients",
                              settings.clip_norm));
    return absl::OkStatus();
  }

  absl::Status AccountForNoise() {
    const Preset& preset = result_.preset;
    if (preset.delta == 0 || preset.settings.noise_multiplier == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(
        const accounting::EpsilonAnswer answer,
        accounting::AnswerEpsilon({.noise_multiplier = preset.settings.noise_multiplier,
                                   .sampling_rate = preset.settings.batch / preset.settings.records,
                                   .steps = preset.settings.steps,
                                   .delta = preset.delta}));
    result_.epsilon = answer.epsilon;
    return absl::OkStatus();
  }

  absl::Status TrainOracles() {
    for (const bool clips : {true, false}) {
      const bool is_needed =
          std::any_of(result_.preset.modes.begin(), result_.preset.modes.end(),
                      [&](const ModeChoice& mode) { return Clips(mode) == clips; });
      if (!is_needed) continue;
      const absl::Time begin = RealClock::Get().Now();
      ASSIGN_OR_RETURN(const v1::JobPlan plan, CommonPlan());
      ASSIGN_OR_RETURN(const std::unique_ptr<Oracle> oracle, Oracle::Create(plan));
      ASSIGN_OR_RETURN(RecordedRun run, oracle->Train(clips, SnapshotsOf(clips)));
      progress_(absl::StrFormat("%-18s %5.1f s", clips ? "fp64 oracle" : "fp64, unclipped",
                                absl::ToDoubleSeconds(RealClock::Get().Now() - begin)));
      (clips ? result_.clipped_oracle : result_.unclipped_oracle) = std::move(run);
    }
    return absl::OkStatus();
  }

  // Modes that have nothing to do agree whatever they do.
  absl::Status CheckGradients() const {
    for (const std::optional<RecordedRun>* oracle :
         {&result_.clipped_oracle, &result_.unclipped_oracle}) {
      if (!oracle->has_value() || HasGradient(**oracle)) continue;
      int64_t drawn = 0;
      for (const RecordedStep& step : (*oracle)->steps) drawn += step.batch_size;
      const RunSettings& settings = result_.preset.settings;
      return absl::InvalidArgumentError(absl::StrCat(
          "there is nothing to compare: the gradient's norm must be above 0 at one step at least, "
          "but the fp64 oracle's is 0 at every step (",
          drawn, " examples drawn in all); raise --batch (now ", settings.batch,
          " expected examples a step) or --steps (now ", settings.steps,
          "), or take another --seed"));
    }
    return absl::OkStatus();
  }

  void SetDistanceLimit() {
    double limit = 0;
    for (const std::optional<RecordedRun>* oracle :
         {&result_.clipped_oracle, &result_.unclipped_oracle}) {
      if (!oracle->has_value()) continue;
      limit = std::max(
          limit, DistanceLimit(result_.preset.settings, result_.trained_parameters, **oracle));
    }
    result_.tolerance.parameter_distance = limit;
  }

  void TrainMode(const ModeChoice& mode) {
    const absl::Time begin = RealClock::Get().Now();
    ModeOutcome outcome{.mode = mode, .clips = Clips(mode)};
    outcome.status = [&]() -> absl::Status {
      RunRequest request{.snapshots = {.compare_with = SnapshotsOf(outcome.clips)}};
      ASSIGN_OR_RETURN(request.plan, training_->Plan(mode));
      if (!checkpoint_folder_.empty()) {
        request.checkpoint_directory = absl::StrCat(checkpoint_folder_, "/", mode.Label());
      }
      ASSIGN_OR_RETURN(outcome.run, training_->Run(request));
      return absl::OkStatus();
    }();
    progress_(absl::StrFormat("%-18s %5.1f s%s", mode.Label(),
                              absl::ToDoubleSeconds(RealClock::Get().Now() - begin),
                              outcome.status.ok() ? "" : "  FAILED"));
    result_.outcomes.push_back(std::move(outcome));
  }

  void CompareAll() {
    const ModeOutcome& reference = result_.outcomes.front();
    const bool has_reference =
        reference.status.ok() && reference.mode.Label() == result_.preset.reference;
    // Where nothing reaches the clip norm, all modes compute the same.
    const bool nothing_is_clipped = !result_.preset.clips_half &&
                                    result_.clipped_oracle.has_value() &&
                                    ClipsNothing(*result_.clipped_oracle);
    for (ModeOutcome& outcome : result_.outcomes) {
      if (!outcome.status.ok()) continue;
      const std::optional<RecordedRun>& oracle =
          outcome.clips ? result_.clipped_oracle : result_.unclipped_oracle;
      outcome.from_oracle = Compare(outcome.run, *oracle);
      outcome.from_oracle->parameter_distance = RelativeDistance(outcome.run);
      const bool same = outcome.clips == reference.clips || nothing_is_clipped;
      if (has_reference && same && &outcome != &reference) {
        outcome.from_reference = Compare(outcome.run, reference.run);
      }
    }
  }

  std::string SnapshotsOf(bool clips) const {
    return absl::StrCat(training_->folder(), clips ? "/clipped.f32" : "/unclipped.f32");
  }

  const std::string& checkpoint_folder_;
  const Progress& progress_;
  ModeComparison result_;
  std::unique_ptr<RecordedTraining> training_;
};

}  // namespace

bool ModeComparison::Agrees() const { return Disagreeing().empty(); }

std::vector<std::string> ModeComparison::Disagreeing() const {
  std::vector<std::string> labels;
  for (const ModeOutcome& outcome : outcomes) {
    if (!outcome.Agrees(tolerance)) labels.push_back(outcome.mode.Label());
  }
  return labels;
}

absl::StatusOr<ModeComparison> CompareModes(const Preset& preset,
                                            const std::string& checkpoint_folder,
                                            const Progress& progress) {
  return Comparison(preset, checkpoint_folder, progress).Run();
}

}  // namespace sotto::check
