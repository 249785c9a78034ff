// Numbers of the command line, with the limits that a check can run with.
#ifndef SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_
#define SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_

#include "CLI/CLI.hpp"

namespace sotto::check {

// NumberRange of common/base, which the help then names. The parser puts the option's name before
// the message.
CLI::Validator NumberIn(double least, double most);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_NUMBER_RANGE_H_
