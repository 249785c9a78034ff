// A subcommand of sotto-check.
#ifndef SOTTO_TOOLS_CHECK_COMMAND_H_
#define SOTTO_TOOLS_CHECK_COMMAND_H_

#include <functional>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace sotto::check {

// Exit codes of every command.
inline constexpr int kAgrees = 0;
inline constexpr int kDiffers = 1;
inline constexpr int kFailed = 2;  // bad arguments, or the check could not run

struct Command {
  CLI::App* app = nullptr;   // owned by the program's App
  std::function<int()> run;  // after parsing; returns the exit code
};

// Says why on stderr and returns kFailed.
int Fail(const absl::Status& status);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_COMMAND_H_
