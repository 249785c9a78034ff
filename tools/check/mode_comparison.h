// Trains every mode on the same model, data and seed, and holds them against one another and
// against the fp64 oracle.
#ifndef SOTTO_TOOLS_CHECK_MODE_COMPARISON_H_
#define SOTTO_TOOLS_CHECK_MODE_COMPARISON_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/comparison.h"
#include "tools/check/preset.h"

namespace sotto::check {

struct ModeComparison {
  Preset preset;  // with the clip norm that was used
  int64_t parameters = 0;
  int64_t trained_parameters = 0;  // those that noise falls on
  Tolerance tolerance;             // the parameters' distance is judged under noise alone
  double epsilon = 0;              // of the steps at the preset's delta, if their seed were secret
  std::optional<RecordedRun> clipped_oracle;    // where a mode clips
  std::optional<RecordedRun> unclipped_oracle;  // where one does not
  std::vector<ModeOutcome> outcomes;            // in the preset's order, the reference first

  bool Agrees() const;
  // Labels of what does not.
  std::vector<std::string> Disagreeing() const;
};

// With a `checkpoint_folder` every mode leaves its checkpoints below it, by its label. `progress`
// gets a line of text at each stage. A mode whose training fails is an outcome with its
// status. INVALID_ARGUMENT, before any training: settings that a mode cannot be planned with.
// INVALID_ARGUMENT also, before any mode trains, where no step has a gradient.
// UNIMPLEMENTED: no fp64 reference for the model.
absl::StatusOr<ModeComparison> CompareModes(
    const Preset& preset, const std::string& checkpoint_folder,
    const std::function<void(const std::string&)>& progress);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_COMPARISON_H_
