// sotto submit: hands a job to the coordinator.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/follow.h"
#include "client/cli/job_spec_file.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct SubmitOptions {
  std::string path;
  std::string request_id;
  bool follow = false;
  bool wait = false;
  bool steward = false;
};

absl::Status Submit(const SubmitOptions& options, Context& context) {
  v1::SubmitJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), ReadJobSpec(options.path));
  request.set_request_id(options.request_id);
  request.set_steward(options.steward);
  ASSIGN_OR_RETURN(Session session, context.Connect());
  ASSIGN_OR_RETURN(const v1::SubmitJobResponse response, session.client->Submit(request));
  const std::string& id = response.job().id();
  if (options.follow || options.wait) {
    if (!context.IsMachineReadable()) {
      context.out << id << (response.existing() ? " (known by its request id)" : "") << std::endl;
    }
    return Follow({.id = id, .is_quiet = !options.follow}, session, context);
  }
  if (context.IsMachineReadable()) {
    context.PrintJson(response.job());
  } else {
    context.out << id << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

void AddSubmitVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<SubmitOptions>();
  CLI::App* verb = app.add_subcommand("submit", "Submit a job and print its id");
  verb->footer("Example: sotto submit job.yaml --follow");
  verb->add_option("spec", options->path, "job spec (YAML, JSON or text proto); -: standard input")
      ->required();
  verb->add_option("--request_id", options->request_id,
                   "the same id again returns the same job instead of a second one");
  CLI::Option* follow = verb->add_flag("--follow", options->follow, "watch it to its end");
  verb->add_flag("--wait", options->wait, "wait for its end")->excludes(follow);
  verb->add_flag("--steward", options->steward, "act as data steward; recorded in the ledger");
  verb->callback([options, &context] { context.Finish(Submit(*options, context)); });
}

}  // namespace sotto::cli
