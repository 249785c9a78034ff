// sotto list: the jobs, newest first.
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cli/table.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct ListOptions {
  std::vector<std::string> states;
  int limit = 50;
};

absl::StatusOr<v1::ListJobsRequest> MakeRequest(const ListOptions& options) {
  v1::ListJobsRequest request;
  for (const std::string& name : options.states) {
    v1::JobState state;
    if (!v1::JobState_Parse(absl::AsciiStrToUpper(name), &state)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--state must be a state such as RUNNING, QUEUED or SUCCEEDED, but is \"", name, "\""));
    }
    request.add_states(state);
  }
  return request;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

void Print(const std::vector<v1::Job>& jobs, Context& context) {
  if (context.IsMachineReadable()) {
    v1::ListJobsResponse all;
    for (const v1::Job& job : jobs) {
      if (context.output == OutputFormat::kJsonl) context.PrintJson(job);
      *all.add_jobs() = job;
    }
    if (context.output == OutputFormat::kJson) context.PrintJson(all);
    return;
  }
  Table table({"JOB", "NAME", "STATE", "REASON", "STEPS", "EPSILON", "SUBMITTED"});
  for (const v1::Job& job : jobs) {
    table.AddRow({job.id(), job.name(), v1::JobState_Name(job.state()),
                  v1::StateReason_Name(job.reason()), absl::StrCat(job.completed_steps()),
                  absl::StrFormat("%.3f", job.epsilon()), TimeText(job.submit_time())});
  }
  context.out << table.ToString() << std::flush;
}

absl::Status List(const ListOptions& options, Context& context) {
  ASSIGN_OR_RETURN(v1::ListJobsRequest request, MakeRequest(options));
  ASSIGN_OR_RETURN(Session session, context.ConnectToState());
  std::vector<v1::Job> jobs;
  do {
    request.set_page_size(options.limit - static_cast<int>(jobs.size()));
    ASSIGN_OR_RETURN(const v1::ListJobsResponse page, session.client->List(request));
    jobs.insert(jobs.end(), page.jobs().begin(), page.jobs().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && static_cast<int>(jobs.size()) < options.limit);
  Print(jobs, context);
  return absl::OkStatus();
}

}  // namespace

void AddListVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* verb = app.add_subcommand("list", "List jobs, newest first");
  verb->footer("Example: sotto list --state RUNNING --state QUEUED");
  verb->add_option("--state", options->states, "only jobs in this state; may be repeated");
  verb->add_option("--limit", options->limit, "at most so many")->check(AtLeast(1));
  verb->callback([options, &context] { context.Finish(List(*options, context)); });
}

}  // namespace sotto::cli
