// Recorded runs against one another.
#ifndef SOTTO_TOOLS_CHECK_COMPARISON_H_
#define SOTTO_TOOLS_CHECK_COMPARISON_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/check/recorded_run.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

// What two runs of the same job may differ by at any step.
struct Tolerance {
  double loss = 1e-4;
  // Of the gradient's norm, both as it is and relative to the norm; a layer's gradient norm at the
  // first and last step likewise, relative to the norm of the whole gradient.
  double gradient_norm = 1e-3;
};

// Over the steps, of what differs.
struct Spread {
  double mean = 0;
  double standard_deviation = 0;
  double largest = 0;  // in absolute value
};

struct Difference {
  Spread loss;
  Spread gradient_norm;
  double largest_relative_gradient_norm = 0;
  double largest_layer_gradient_norm = 0;           // of the matrix `worst_layer`
  double largest_relative_layer_gradient_norm = 0;  // to the norm of the whole gradient
  double largest_layer_weight_norm = 0;             // relative
  std::string worst_layer;
  int64_t worst_step = 0;  // where the gradient's norm differs most

  // False also where anything is not a number.
  bool IsWithin(const Tolerance& tolerance) const;
};

// `run` less `with`. Runs of different numbers of steps or layers differ infinitely.
Difference Compare(const RecordedRun& run, const RecordedRun& with);

Spread SpreadOf(const std::vector<double>& values);

// One mode's run and what it was held against.
struct ModeOutcome {
  ModeChoice mode;
  bool clips = true;
  absl::Status status;  // of the run
  RecordedRun run;
  std::optional<Difference> from_reference;  // none for the reference itself and where only one
                                             // of the two clips
  std::optional<Difference> from_oracle;

  bool Agrees(const Tolerance& tolerance) const;
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_COMPARISON_H_
