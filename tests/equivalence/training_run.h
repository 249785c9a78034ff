// A whole training without a coordinator, in ranks that are processes: for tests that compare runs.
#ifndef SOTTO_TESTS_EQUIVALENCE_TRAINING_RUN_H_
#define SOTTO_TESTS_EQUIVALENCE_TRAINING_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tests/equivalence/run_plan.h"

namespace sotto::equivalence {

// What rank 0 saw at the end.
struct RunResult {
  bool succeeded = false;           // every rank
  std::vector<float> parameters;    // canonical order, without padding
  std::vector<double> losses;       // raw mean loss of each step
  std::vector<double> clip_norms;   // C of each step
  std::vector<double> batch_sizes;  // examples of each step's batch
  std::vector<double> evaluations;  // none without an evaluation file
  std::vector<double> clearings;    // steps done when caches were cleared, the same on every rank
  std::vector<double> state_bytes;  // of the optimizer, by rank
  // Of the rank that needed most.
  int64_t tensor_peak_bytes = 0;    // worker/memory's high-water mark
  int64_t resident_peak_bytes = 0;  // of the process
};

// Trains the plan of one rank in this process, from step 0 to `end_step`, and returns the most that
// its tensors occupied.
absl::StatusOr<int64_t> TensorPeakOf(const v1::JobPlan& plan, int64_t end_step);

// Trains in `options.world_size` processes (RankTestMain must be main). A rank succeeds only if at
// the end it gathers the same bits as every other one, parameters and optimizer state, and all its
// padding is zero.
RunResult Train(const std::string& directory, const RunOptions& options);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_TRAINING_RUN_H_
