// The whole program as a function, so that tests and twins can call it.
#ifndef SOTTO_TOOLS_CHECK_PROGRAM_H_
#define SOTTO_TOOLS_CHECK_PROGRAM_H_

namespace sotto::check {

// Runs a rank when this process was spawned as one (rank_processes.h), else the command that the
// arguments name. Returns the exit code: 0 everything agrees, 1 something differs, 2 the check
// could not run.
int RunProgram(int argc, char** argv);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_PROGRAM_H_
