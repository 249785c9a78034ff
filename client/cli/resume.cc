// sotto resume: a paused job goes on, on other workers if told so.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/plan_text.h"
#include "client/cli/strategy_option.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct ResumeOptions {
  std::string id;
  int workers = 0;
  std::string strategy;
  int shard_group_size = 0;
  bool validate_only = false;
};

absl::Status Resume(const ResumeOptions& options, Context& context) {
  v1::ResumeJobRequest request;
  request.set_id(options.id);
  request.set_validate_only(options.validate_only);
  v1::WorkersSpec& workers = *request.mutable_workers();
  workers.set_count(options.workers);
  workers.set_shard_group_size(options.shard_group_size);
  ASSIGN_OR_RETURN(const v1::Strategy strategy, ParseStrategy(options.strategy));
  workers.set_strategy(strategy);
  // One that was started for this call alone would leave the job's workers behind.
  ASSIGN_OR_RETURN(Session session, context.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, session.client->Resume(request));
  if (context.IsMachineReadable()) {
    context.PrintJson(job);
  } else if (options.validate_only) {
    context.out << PlanText(job.plan()) << std::flush;
  } else {
    const v1::ShardingPlan& sharding = job.plan().sharding();
    context.out << job.id() << " " << v1::JobState_Name(job.state()) << " on "
                << sharding.world_size()
                << (sharding.world_size() == 1 ? " worker, " : " workers, ")
                << v1::Strategy_Name(sharding.strategy()) << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

void AddResumeVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App* verb = app.add_subcommand(
      "resume", "Go on with a paused job, on as many workers and by the strategy that you say");
  verb->footer(
      "Example: sotto resume job-1 --workers 4 --strategy SHARD_GRAD_OP\n"
      "Its privacy, its budget and its batches stay what they were.");
  verb->add_option("job", options->id, "the job's id")->required();
  verb->add_option("--workers", options->workers, "ranks; unset: as before")->check(AtLeast(1));
  AddStrategy(*verb, options->strategy, "; unset: as before");
  verb->add_option("--shard_group_size", options->shard_group_size,
                   "ranks of a shard group (HYBRID_SHARD); unset: as before, or half of them")
      ->check(AtLeast(1));
  verb->add_flag("--validate_only", options->validate_only,
                 "only show the plan that the job would get");
  verb->callback([options, &context] { context.Finish(Resume(*options, context)); });
}

}  // namespace sotto::cli
