// sotto logs: what workers wrote. A data steward's view.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "client/interrupt_handler.h"
#include "common/base/status_macros.h"

namespace sotto::cli {

void AddLogsVerb(CLI::App& app, Context& context) {
  struct LogsOptions {
    std::string id;
    int64_t attempt = 0;
    int rank = -1;
    bool steward = false;
  };
  auto options = std::make_shared<LogsOptions>();
  CLI::App* verb = app.add_subcommand("logs", "Print worker logs (data steward; recorded)");
  verb->footer("Example: sotto logs job-1 --steward --rank 0");
  verb->add_option("job", options->id, "the job's id")->required();
  verb->add_option("--attempt", options->attempt, "unset: the latest")->check(AtLeast(1));
  verb->add_option("--rank", options->rank, "unset: all")->check(AtLeast(0));
  verb->add_flag("--steward", options->steward, "act as data steward; the job is marked");
  verb->callback([options, &context] {
    context.Finish([&]() -> absl::Status {
      ASSIGN_OR_RETURN(Session session, context.ConnectToState());
      client::InterruptHandler interrupt([&] { session.client->Interrupt(); });
      v1::GetLogsRequest request;
      request.set_id(options->id);
      request.set_attempt(options->attempt);
      request.set_rank(options->rank);
      request.set_steward(options->steward);
      return session.client->Logs(request, [&](const v1::GetLogsResponse& piece) {
        if (context.IsMachineReadable()) {
          context.out << ToJson(piece, /*is_indented=*/false) << std::endl;
        } else {
          context.out << piece.text() << std::flush;
        }
      });
    }());
  });
}

}  // namespace sotto::cli
