// One function a verb: it adds a subcommand whose callback does the work and leaves the exit code
// in the context.
#ifndef SOTTO_CLIENT_CLI_VERBS_H_
#define SOTTO_CLIENT_CLI_VERBS_H_

#include "client/cli/context.h"

namespace CLI {
class App;
}

namespace sotto::cli {

void AddRunVerb(CLI::App& app, Context& context);
void AddSubmitVerb(CLI::App& app, Context& context);
void AddPlanVerb(CLI::App& app, Context& context);
void AddWatchVerb(CLI::App& app, Context& context);
void AddWaitVerb(CLI::App& app, Context& context);
void AddListVerb(CLI::App& app, Context& context);
void AddGetVerb(CLI::App& app, Context& context);
void AddCancelVerb(CLI::App& app, Context& context);
void AddPauseVerb(CLI::App& app, Context& context);
void AddResumeVerb(CLI::App& app, Context& context);
void AddLogsVerb(CLI::App& app, Context& context);
void AddExportVerb(CLI::App& app, Context& context);
void AddGenerateVerb(CLI::App& app, Context& context);
void AddScoreVerb(CLI::App& app, Context& context);
void AddCaptureVerb(CLI::App& app, Context& context);
void AddEditVerb(CLI::App& app, Context& context);
void AddDataVerb(CLI::App& app, Context& context);
void AddDatasetVerb(CLI::App& app, Context& context);
void AddLedgerVerb(CLI::App& app, Context& context);
void AddEpsilonVerb(CLI::App& app, Context& context);
void AddSigmaVerb(CLI::App& app, Context& context);
void AddVersionVerb(CLI::App& app, Context& context);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_VERBS_H_
