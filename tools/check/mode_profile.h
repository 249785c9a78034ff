// Where the time and the memory of each gradient mode go.
#ifndef SOTTO_TOOLS_CHECK_MODE_PROFILE_H_
#define SOTTO_TOOLS_CHECK_MODE_PROFILE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/recorded_run.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

struct ProfileOptions {
  RunSettings settings;
  std::vector<ModeChoice> modes;
  int rounds = 3;  // trainings of each mode, the modes one after the other in each round
};

struct ModeProfile {
  ModeChoice mode;
  absl::Status status;  // of planning and of the trainings
  v1::JobPlan plan;
  double step_seconds = 0;  // mean over the faster half of the measured steps of all rounds
  std::vector<RecordedPhase> phases;  // the same steps' means, by name; peaks: every step's
  int64_t peak_bytes = 0;             // resident, the least of the rounds
  int64_t tensor_peak_bytes = 0;      // the allocator's high-water mark: every round's

  // 0 for a phase that does not exist.
  double Seconds(const std::string& phase) const;
  int64_t Count(const std::string& phase) const;
  int64_t TensorPeakBytes(const std::string& phase) const;
};

// Rank 0's phases. The first step of each training warms up and does not count. Every record in
// every step, all of the same length. A mode that cannot be planned or trained has its status.
absl::StatusOr<std::vector<ModeProfile>> ProfileModes(
    const ProfileOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_PROFILE_H_
