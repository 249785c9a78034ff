// Plots through gnuplot.
#ifndef SOTTO_TOOLS_CHECK_GNUPLOT_H_
#define SOTTO_TOOLS_CHECK_GNUPLOT_H_

#include <string>

#include "absl/status/statusor.h"

namespace sotto::check {

// Runs the script and returns what it wrote to stdout (`set terminal dumb` plots there).
// NOT_FOUND: there is no gnuplot. INVALID_ARGUMENT: what gnuplot has against the script.
absl::StatusOr<std::string> RunGnuplot(const std::string& script);

// Text as a gnuplot string, in single quotes.
std::string GnuplotQuoted(const std::string& text);

// A word of a data block.
std::string GnuplotDoubleQuoted(const std::string& text);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_GNUPLOT_H_
