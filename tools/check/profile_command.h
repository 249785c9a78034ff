// sotto-check profile.
#ifndef SOTTO_TOOLS_CHECK_PROFILE_COMMAND_H_
#define SOTTO_TOOLS_CHECK_PROFILE_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddProfileCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_PROFILE_COMMAND_H_
