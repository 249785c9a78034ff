#include "tools/check/mode_profile.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "tools/check/recorded_training.h"

namespace sotto::check {
namespace {

const RecordedPhase* Find(const std::vector<RecordedPhase>& phases, const std::string& name) {
  for (const RecordedPhase& phase : phases) {
    if (phase.name == name) return &phase;
  }
  return nullptr;
}

// What other programs do makes steps slower, never faster: the faster half is the mode's own.
void Summarise(std::vector<RecordedStep> steps, ModeProfile& profile) {
  profile.phases = steps.front().phases;  // Counts are the same in every step.
  for (const RecordedStep& step : steps) {
    for (size_t i = 0; i < profile.phases.size(); ++i) {
      int64_t& peak_bytes = profile.phases[i].tensor_peak_bytes;
      peak_bytes = std::max(peak_bytes, step.phases[i].tensor_peak_bytes);
    }
  }
  std::sort(steps.begin(), steps.end(),
            [](const RecordedStep& a, const RecordedStep& b) { return a.seconds < b.seconds; });
  steps.resize((steps.size() + 1) / 2);
  const auto count = static_cast<double>(steps.size());
  for (RecordedPhase& phase : profile.phases) phase.seconds = 0;
  for (const RecordedStep& step : steps) {
    profile.step_seconds += step.seconds / count;
    for (size_t i = 0; i < profile.phases.size(); ++i) {
      profile.phases[i].seconds += step.phases[i].seconds / count;
    }
  }
}

}  // namespace

double ModeProfile::Seconds(const std::string& phase) const {
  const RecordedPhase* found = Find(phases, phase);
  return found == nullptr ? 0 : found->seconds;
}

int64_t ModeProfile::Count(const std::string& phase) const {
  const RecordedPhase* found = Find(phases, phase);
  return found == nullptr ? 0 : found->count;
}

int64_t ModeProfile::TensorPeakBytes(const std::string& phase) const {
  const RecordedPhase* found = Find(phases, phase);
  return found == nullptr ? 0 : found->tensor_peak_bytes;
}

absl::StatusOr<std::vector<ModeProfile>> ProfileModes(
    const ProfileOptions& options, const std::function<void(const std::string&)>& progress) {
  RunSettings settings = options.settings;
  settings.full_length = true;
  settings.records = static_cast<int32_t>(std::lround(settings.batch));
  settings.steps += 1;  // the one that warms up
  ASSIGN_OR_RETURN(const std::unique_ptr<RecordedTraining> training,
                   RecordedTraining::Create(settings));
  std::vector<ModeProfile> profiles;
  for (const ModeChoice& mode : options.modes) {
    profiles.push_back({.mode = mode});
    absl::StatusOr<v1::JobPlan> plan = training->Plan(mode);
    profiles.back().status = plan.status();
    if (plan.ok()) profiles.back().plan = *std::move(plan);
  }
  std::vector<std::vector<RecordedStep>> steps(profiles.size());
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < profiles.size(); ++i) {
      ModeProfile& profile = profiles[i];
      if (!profile.status.ok()) continue;
      const absl::StatusOr<RecordedRun> run =
          training->Run({.plan = profile.plan, .measures_parameters = false});
      profile.status = run.status();
      if (!run.ok()) continue;
      steps[i].insert(steps[i].end(), run->steps.begin() + 1, run->steps.end());
      profile.peak_bytes =
          round == 0 ? run->peak_bytes : std::min(profile.peak_bytes, run->peak_bytes);
      profile.tensor_peak_bytes = std::max(profile.tensor_peak_bytes, run->tensor_peak_bytes);
    }
    progress(absl::StrFormat("round %d of %d is done", round + 1, options.rounds));
  }
  for (size_t i = 0; i < profiles.size(); ++i) {
    if (profiles[i].status.ok()) Summarise(std::move(steps[i]), profiles[i]);
  }
  return profiles;
}

}  // namespace sotto::check
