// `sotto` as a user runs it.
#ifndef SOTTO_TESTS_INTEGRATION_CLI_CLI_PROCESS_H_
#define SOTTO_TESTS_INTEGRATION_CLI_CLI_PROCESS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sotto::integration {

struct CliOutcome {
  int code = 0;      // exit status
  std::string text;  // stdout and stderr
};

// The program, absolute: the one in `folder`/bin when InstallBinaries was called.
std::string CliBinary(const std::string& folder);

// Copies the three programs into `folder`/bin, side by side as ./dev build leaves them.
absl::Status InstallBinaries(const std::string& folder);

// Runs the program to its end; `folder` holds its output for a moment. DEADLINE_EXCEEDED: it took
// over a minute, and was killed.
absl::StatusOr<CliOutcome> RunCli(const std::string& folder, std::vector<std::string> arguments);

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_CLI_CLI_PROCESS_H_
