// One training from settings to the parameters that it leaves.
#ifndef SOTTO_TOOLS_CHECK_TRAINED_MODEL_H_
#define SOTTO_TOOLS_CHECK_TRAINED_MODEL_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/recorded_run.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

struct TrainedModel {
  v1::JobPlan plan;
  RecordedRun run;
  std::vector<float> parameters;  // canonical order, no padding
  double seconds = 0;             // of the whole training
};

// Plans and trains a job that promises nothing (fixed seed, random records). INVALID_ARGUMENT: what
// planning refuses. INTERNAL: a rank failed.
absl::StatusOr<TrainedModel> TrainModel(const RunSettings& settings, const ModeChoice& mode);

// Parameters that differ in any bit; what only one of the models has counts too.
int64_t CountDifferentBits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_TRAINED_MODEL_H_
