// Recorded runs against one another.
#ifndef SOTTO_TOOLS_CHECK_COMPARISON_H_
#define SOTTO_TOOLS_CHECK_COMPARISON_H_

#include <cstdint>
#include <limits>
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
  // Of the last parameters' distance from fp64's, over their norm. Infinite: not judged.
  double parameter_distance = std::numeric_limits<double>::infinity();
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
  // As in Tolerance; 0 where `with` is not fp64.
  double parameter_distance = 0;

  // False also where anything is not a number.
  bool IsWithin(const Tolerance& tolerance) const;
};

// `run` less `with`. Runs of different numbers of steps or layers differ infinitely.
Difference Compare(const RecordedRun& run, const RecordedRun& with);

Spread SpreadOf(const std::vector<double>& values);

// Of the last parameters from fp64's, over their norm, as the run recorded both.
double RelativeDistance(const RecordedRun& run);

// What RelativeDistance may be after the settings' steps of SGD under noise: the rounding of every
// parameter at every step, and 1e-3 of what noise and gradients moved, for a model of so many
// `parameters` whose fp64 run is `oracle`. Infinite without noise and for AdamW, which amplifies
// rounding.
double DistanceLimit(const RunSettings& settings, int64_t parameters, const RecordedRun& oracle);

// Whether any step has a gradient other than 0. Without one everything agrees.
bool HasGradient(const RecordedRun& run);

// Over the steps that drew examples, of which there is at least one.
bool ClipsNothing(const RecordedRun& run);
bool ClipsEverything(const RecordedRun& run);

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
