// Plots of a comparison of modes.
#ifndef SOTTO_TOOLS_CHECK_MODE_PLOTS_H_
#define SOTTO_TOOLS_CHECK_MODE_PLOTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/mode_comparison.h"

namespace sotto::check {

// Writes loss_trajectory.png, gradient_norm_comparison.png, parameter_distance.png and
// final_loss_comparison.png; returns their paths. Errors are gnuplot's.
absl::StatusOr<std::vector<std::string>> WriteModePlots(const ModeComparison& comparison,
                                                        const std::string& directory);

// The same four for a terminal of this many columns.
absl::StatusOr<std::string> TerminalModePlots(const ModeComparison& comparison, int columns);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_PLOTS_H_
