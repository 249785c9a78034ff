// What one training leaves behind for comparison.
#ifndef SOTTO_TOOLS_CHECK_RECORDED_RUN_H_
#define SOTTO_TOOLS_CHECK_RECORDED_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace sotto::check {

// Of one step, on rank 0.
struct RecordedPhase {
  std::string name;  // of train::PhaseProfile
  double seconds = 0;
  int64_t count = 0;
  int64_t tensor_peak_bytes = 0;  // lived at any moment of the phase, in this or an earlier step
};

struct RecordedStep {
  double loss = 0;           // mean over the drawn examples
  double gradient_norm = 0;  // of the (clipped) gradient sum over the expected batch size, no noise
  double clip_fraction = 0;
  int64_t batch_size = 0;     // drawn
  double parameter_norm = 0;  // after the step
  // From the reference run's parameters after the same step; 0 without a reference.
  double parameter_distance = 0;
  double seconds = 0;
  std::vector<RecordedPhase> phases;
};

// One weight matrix, at the first and at the last step.
struct RecordedLayer {
  std::string name;  // of the parameter
  double first_weight_norm = 0;
  double first_gradient_norm = 0;
  double last_weight_norm = 0;
  double last_gradient_norm = 0;
};

struct RecordedRun {
  std::vector<RecordedStep> steps;
  std::vector<RecordedLayer> layers;
  int64_t peak_bytes = 0;         // resident, of the rank that needed most
  int64_t tensor_peak_bytes = 0;  // of tensors, of the rank that needed most
  int64_t tensor_held_bytes = 0;  // still there after the last step, of the rank with most
  int64_t nonzero_padding = 0;    // elements of the parameters' padding, over all ranks

  double FinalLoss() const { return steps.empty() ? 0 : steps.back().loss; }
  double MeanGradientNorm() const;
};

// For reports: what is not finite is null.
nlohmann::json ToJson(const RecordedRun& run);

// Between processes: every double as it is. DATA_LOSS: not what RunToBytes wrote.
std::string RunToBytes(const RecordedRun& run);
absl::StatusOr<RecordedRun> RunFromBytes(const std::string& bytes);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RECORDED_RUN_H_
