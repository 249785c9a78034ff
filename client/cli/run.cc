// sotto run: a coordinator for one job, on a state folder that outlives it.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/follow.h"
#include "client/cli/job_spec_file.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct RunOptions {
  std::string path;
  std::string request_id;
  int slots = 0;
  bool steward = false;
};

absl::Status Run(const RunOptions& options, Context& context) {
  v1::SubmitJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), ReadJobSpec(options.path));
  request.set_request_id(options.request_id);
  request.set_steward(options.steward);
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStartForJob(options.slots));
  ASSIGN_OR_RETURN(const v1::SubmitJobResponse response, session.client->Submit(request));
  return Follow({.id = response.job().id(), .cancels_on_interrupt = true}, session, context);
}

}  // namespace

void AddRunVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* verb = app.add_subcommand("run",
                                      "Start a private coordinator on the state folder, run one "
                                      "job to its end, return its exit code");
  verb->footer("Example: sotto run job.yaml\nInside sbatch or CI; Ctrl-C cancels the job.");
  verb->add_option("spec", options->path, "job spec (YAML, JSON or text proto); -: standard input")
      ->required();
  verb->add_option("--request_id", options->request_id,
                   "the same id again watches the same job instead of a second one");
  AddSlots(*verb, options->slots);
  verb->add_flag("--steward", options->steward, "act as data steward; recorded in the ledger");
  verb->callback([options, &context] { context.Finish(Run(*options, context)); });
}

}  // namespace sotto::cli
