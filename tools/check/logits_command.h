// `sotto-check logits`.
#ifndef SOTTO_TOOLS_CHECK_LOGITS_COMMAND_H_
#define SOTTO_TOOLS_CHECK_LOGITS_COMMAND_H_

#include "tools/check/command.h"

namespace sotto::check {

Command AddLogitsCommand(CLI::App& app);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_LOGITS_COMMAND_H_
