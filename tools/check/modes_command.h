// sotto-check modes.
#ifndef SOTTO_TOOLS_CHECK_MODES_COMMAND_H_
#define SOTTO_TOOLS_CHECK_MODES_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddModesCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODES_COMMAND_H_
