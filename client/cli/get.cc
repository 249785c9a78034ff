// sotto get: one job, with its history.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cli/plan_text.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

void Print(const v1::Job& job, Context& context) {
  context.out << absl::StrFormat("%s %s: %s (%s) %s\n", job.id(), job.name(),
                                 v1::JobState_Name(job.state()), v1::StateReason_Name(job.reason()),
                                 job.message());
  context.out << absl::StrFormat("attempt %d, %d restarts, %d of %d steps, epsilon %.4f\n",
                                 job.attempt(), job.restarts(), job.completed_steps(),
                                 job.plan().train().steps(), job.epsilon());
  const v1::ShardingPlan& sharding = job.plan().sharding();
  context.out << absl::StrFormat("workers %d, %s\n", sharding.world_size(),
                                 v1::Strategy_Name(sharding.strategy()));
  if (job.state() == v1::PAUSED) {
    context.out << absl::StrFormat("`sotto resume %s` goes on, on other workers if you say so\n",
                                   job.id());
  }
  if (!job.checkpoint_path().empty()) {
    context.out << absl::StrFormat("checkpoint %s (after %d steps)\n", job.checkpoint_path(),
                                   job.checkpoint_step());
  }
  if (job.steward_viewed()) context.out << "a data steward has seen raw values of this job\n";
  context.out << "history\n";
  for (const v1::StateChange& change : job.history()) {
    context.out << absl::StrFormat(
        "  %s  attempt %d  %s (%s) %s\n",
        absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(change.time().seconds()),
                         absl::LocalTimeZone()),
        change.attempt(), v1::JobState_Name(change.state()), v1::StateReason_Name(change.reason()),
        change.message());
  }
  context.out << std::flush;
}

absl::Status Get(const std::string& id, bool shows_plan, Context& context) {
  ASSIGN_OR_RETURN(Session session, context.ConnectToState());
  ASSIGN_OR_RETURN(const v1::Job job, session.client->Get(id));
  if (context.IsMachineReadable()) {
    context.PrintJson(job);
    return absl::OkStatus();
  }
  Print(job, context);
  if (shows_plan) context.out << "\n" << PlanText(job.plan()) << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddGetVerb(CLI::App& app, Context& context) {
  struct GetOptions {
    std::string id;
    bool plan = false;
  };
  auto options = std::make_shared<GetOptions>();
  CLI::App* verb = app.add_subcommand("get", "Show one job and its history");
  verb->footer("Example: sotto get job-1 --plan");
  verb->add_option("job", options->id, "the job's id")->required();
  verb->add_flag("--plan", options->plan, "also show the plan");
  verb->callback([options, &context] { context.Finish(Get(options->id, options->plan, context)); });
}

}  // namespace sotto::cli
