// sotto watch: a job live.
#include <memory>

#include "CLI/CLI.hpp"
#include "client/cli/follow.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {

void AddWatchVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<FollowOptions>();
  CLI::App* verb = app.add_subcommand("watch", "Watch a job to its end; Ctrl-C leaves it running");
  verb->footer(
      "Example: sotto watch job-1\n         sotto --output jsonl watch job-1 --after_sequence 120");
  verb->add_option("job", options->id, "the job's id")->required();
  verb->add_option("--after_sequence", options->after_sequence, "events after this one only")
      ->check(AtLeast(0));
  verb->add_flag("--steward", options->steward,
                 "show raw values as data steward; recorded, and the job is marked");
  verb->callback([options, &context] {
    context.Finish([&]() -> absl::Status {
      ASSIGN_OR_RETURN(Session session, context.ConnectToState());
      return Follow(*options, session, context);
    }());
  });
}

}  // namespace sotto::cli
