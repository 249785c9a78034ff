// sotto plan: what a job would be, without running it.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/job_spec_file.h"
#include "client/cli/plan_text.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct PlanOptions {
  std::string path;
  bool schedule = false;
  int slots = 0;
  bool steward = false;
};

absl::Status Plan(const PlanOptions& options, Context& context) {
  v1::SubmitJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), ReadJobSpec(options.path));
  request.set_validate_only(true);
  request.set_steward(options.steward);
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStart(options.slots));
  ASSIGN_OR_RETURN(const v1::SubmitJobResponse response, session.client->Submit(request));
  if (context.IsMachineReadable()) {
    context.PrintJson(response.job().plan());
    return absl::OkStatus();
  }
  context.out << PlanText(response.job().plan());
  if (options.schedule) context.out << "\nschedule\n" << response.schedule();
  context.out << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddPlanVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* verb = app.add_subcommand(
      "plan", "Check a job and show its plan: sigma, epsilon, budget charge, memory, collectives");
  verb->footer("Example: sotto plan job.yaml --schedule");
  verb->add_option("spec", options->path, "job spec (YAML, JSON or text proto); -: standard input")
      ->required();
  verb->add_flag("--schedule", options->schedule, "also print the execution schedule");
  AddSlots(*verb, options->slots);
  verb->add_flag("--steward", options->steward, "act as data steward");
  verb->callback([options, &context] { context.Finish(Plan(*options, context)); });
}

}  // namespace sotto::cli
