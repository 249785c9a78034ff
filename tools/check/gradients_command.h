// sotto-check gradients.
#ifndef SOTTO_TOOLS_CHECK_GRADIENTS_COMMAND_H_
#define SOTTO_TOOLS_CHECK_GRADIENTS_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddGradientsCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_GRADIENTS_COMMAND_H_
