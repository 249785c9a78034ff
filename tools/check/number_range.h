// Numbers of the command line, with the limits that a check can run with.
#ifndef SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_
#define SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_

#include "CLI/CLI.hpp"

namespace sotto::check {

// In [least, most]; neither what is no number nor NaN. The message has the rule and the text; the
// parser puts the option's name before it.
CLI::Validator NumberIn(double least, double most);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_
