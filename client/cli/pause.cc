// sotto pause: a job gives its workers' slots back, to go on later.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {

void AddPauseVerb(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand(
      "pause", "Pause a job: it saves a checkpoint, frees its slots and keeps its budget");
  verb->footer("Example: sotto pause job-1\n`sotto resume job-1` goes on with it.");
  verb->add_option("job", *id, "the job's id")->required();
  verb->callback([id, &context] {
    context.Finish([&]() -> absl::Status {
      ASSIGN_OR_RETURN(Session session, context.Connect());
      ASSIGN_OR_RETURN(const v1::Job job, session.client->Pause(*id));
      context.PrintState(job);
      return absl::OkStatus();
    }());
  });
}

}  // namespace sotto::cli
