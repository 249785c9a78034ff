// sotto-check world.
#ifndef SOTTO_TOOLS_CHECK_WORLD_COMMAND_H_
#define SOTTO_TOOLS_CHECK_WORLD_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddWorldCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_WORLD_COMMAND_H_
