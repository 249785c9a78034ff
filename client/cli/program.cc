#include "client/cli/program.h"

#include <algorithm>
#include <map>

#include "CLI/CLI.hpp"
#include "client/cli/verbs.h"

namespace sotto::cli {
namespace {

void AddVerbs(CLI::App& app, Context& context) {
  AddRunVerb(app, context);
  AddSubmitVerb(app, context);
  AddPlanVerb(app, context);
  AddWatchVerb(app, context);
  AddWaitVerb(app, context);
  AddListVerb(app, context);
  AddGetVerb(app, context);
  AddCancelVerb(app, context);
  AddPauseVerb(app, context);
  AddResumeVerb(app, context);
  AddLogsVerb(app, context);
  AddExportVerb(app, context);
  AddGenerateVerb(app, context);
  AddScoreVerb(app, context);
  AddCaptureVerb(app, context);
  AddEditVerb(app, context);
  AddDataVerb(app, context);
  AddDatasetVerb(app, context);
  AddLedgerVerb(app, context);
  AddEpsilonVerb(app, context);
  AddSigmaVerb(app, context);
  AddVersionVerb(app, context);
}

void AddCommonOptions(CLI::App& app, Context& context) {
  app.add_option(
         "--address", context.address,
         "coordinator, unix:/path or host:port; unset: the one that runs on the state folder")
      ->envname("SOTTO_ADDRESS");
  app.add_option("--state_dir", context.state_dir,
                 "state folder; unset: $XDG_STATE_HOME/sotto or ~/.local/state/sotto")
      ->envname("SOTTO_STATE_DIR");
  app.add_option("--output", context.output, "table, json or jsonl")
      ->envname("SOTTO_OUTPUT")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, OutputFormat>{{"table", OutputFormat::kTable},
                                              {"json", OutputFormat::kJson},
                                              {"jsonl", OutputFormat::kJsonl}}));
}

}  // namespace

int RunProgram(std::vector<std::string> arguments, Context& context) {
  CLI::App app("Trains models under differential privacy on sharded workers.", "sotto");
  app.footer("Example: sotto submit job.yaml --follow");
  app.require_subcommand(1);
  app.fallthrough();  // Common options may stand after the verb.
  AddCommonOptions(app, context);
  AddVerbs(app, context);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back.
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, context.out, context.err) == 0
               ? 0
               : static_cast<int>(client::ExitCode::kUsage);
  }
  return static_cast<int>(context.exit_code);
}

}  // namespace sotto::cli
