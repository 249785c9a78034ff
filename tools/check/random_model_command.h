// `sotto-check random_model`.
#ifndef SOTTO_TOOLS_CHECK_RANDOM_MODEL_COMMAND_H_
#define SOTTO_TOOLS_CHECK_RANDOM_MODEL_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddRandomModelCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RANDOM_MODEL_COMMAND_H_
