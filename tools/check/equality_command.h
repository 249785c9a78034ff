// sotto-check equality.
#ifndef SOTTO_TOOLS_CHECK_EQUALITY_COMMAND_H_
#define SOTTO_TOOLS_CHECK_EQUALITY_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddEqualityCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_EQUALITY_COMMAND_H_
