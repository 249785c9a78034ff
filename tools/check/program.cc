#include "tools/check/program.h"

#include <optional>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/base/log.h"
#include "tools/check/command.h"
#include "tools/check/equality_command.h"
#include "tools/check/gradients_command.h"
#include "tools/check/logits_command.h"
#include "tools/check/modes_command.h"
#include "tools/check/profile_command.h"
#include "tools/check/random_model_command.h"
#include "tools/check/rank_gang.h"
#include "tools/check/training_rank.h"
#include "tools/check/world_command.h"

namespace sotto::check {

int RunProgram(int argc, char** argv) {
  if (const std::optional<int> code = RunIfRank(argc, argv, TrainAsRank)) return *code;
  CLI::App app(
      "Checks what sotto computes: gradient modes, models and world sizes against one another.\n"
      "Exit code 0: everything agrees; 1: something differs; 2: the check could not run.",
      "sotto-check");
  app.require_subcommand(1);
  const std::vector<Command> commands = {
      AddModesCommand(app),       AddProfileCommand(app), AddGradientsCommand(app),
      AddLogitsCommand(app),      AddWorldCommand(app),   AddEqualityCommand(app),
      AddRandomModelCommand(app),
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kAgrees : kFailed;
  }
  SetMinLogSeverity(LogSeverity::kWARNING);
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return kFailed;
}

}  // namespace sotto::check
