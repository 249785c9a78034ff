// sotto wait: until a job ends.
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "client/cli/follow.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {

void AddWaitVerb(CLI::App& app, Context& context) {
  struct WaitOptions {
    FollowOptions follow;
    double timeout_seconds = 0;
  };
  auto options = std::make_shared<WaitOptions>();
  options->follow.is_quiet = true;
  CLI::App* verb = app.add_subcommand("wait", "Wait until a job ends; exit code 5 when it has not");
  verb->footer("Example: sotto wait job-1 --timeout_seconds 3600");
  verb->add_option("job", options->follow.id, "the job's id")->required();
  verb->add_option("--timeout_seconds", options->timeout_seconds, "unset: for ever")
      ->check(Positive());
  verb->callback([options, &context] {
    context.Finish([&]() -> absl::Status {
      if (options->timeout_seconds > 0) {
        options->follow.deadline = absl::Now() + absl::Seconds(options->timeout_seconds);
      }
      ASSIGN_OR_RETURN(Session session, context.ConnectToState());
      return Follow(options->follow, session, context);
    }());
  });
}

}  // namespace sotto::cli
