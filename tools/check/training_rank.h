// One rank of a recorded training.
#ifndef SOTTO_TOOLS_CHECK_TRAINING_RANK_H_
#define SOTTO_TOOLS_CHECK_TRAINING_RANK_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/rank_gang.h"
#include "tools/check/recorded_run.h"

namespace sotto::check {

// The job that every checked training says it is (shuffled batches are keyed by it).
inline constexpr char kJobName[] = "check";

// The parameters after every step, one after the other: fp32, canonical order, no padding.
struct Snapshots {
  std::string write_to;      // empty: none
  bool last_only = false;    // write only what the last step left
  std::string compare_with;  // a file of the same model and as many steps; empty: nothing
};

struct RunRequest {
  v1::JobPlan plan;
  // False: only losses, gradient norms, times and peaks, so that recording costs no memory.
  bool measures_parameters = true;
  Snapshots snapshots;
  std::string checkpoint_directory;  // empty: no checkpoints
};

// Writes the request into the run's directory, where its ranks look for it.
absl::Status WriteRequest(const RunRequest& request, const std::string& directory);

// What a rank does: reads the request, trains all steps of the plan, and (rank 0) writes the
// record. For RunIfRank.
absl::Status TrainAsRank(const RankContext& context);

// What rank 0 wrote.
absl::StatusOr<RecordedRun> ReadRecord(const std::string& directory);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_TRAINING_RANK_H_
