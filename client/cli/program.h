// The command line as a function, so that tests can call it.
#ifndef SOTTO_CLIENT_CLI_PROGRAM_H_
#define SOTTO_CLIENT_CLI_PROGRAM_H_

#include <string>
#include <vector>

#include "client/cli/context.h"

namespace sotto::cli {

// Parses `arguments` (without the program's name) and runs the verb. Returns the process's exit
// code.
int RunProgram(std::vector<std::string> arguments, Context& context);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_PROGRAM_H_
