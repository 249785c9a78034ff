// sotto cancel: ends a job, keeping its checkpoint.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {

void AddCancelVerb(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("cancel", "Cancel a job: it saves a checkpoint and ends");
  verb->footer("Example: sotto cancel job-1");
  verb->add_option("job", *id, "the job's id")->required();
  verb->callback([id, &context] {
    context.Finish([&]() -> absl::Status {
      ASSIGN_OR_RETURN(Session session, context.ConnectToState());
      ASSIGN_OR_RETURN(const v1::Job job, session.client->Cancel(*id));
      context.PrintState(job);
      return absl::OkStatus();
    }());
  });
}

}  // namespace sotto::cli
