#include "client/cli/follow.h"

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/interrupt_handler.h"
#include "client/live_view.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

void ShowEvent(const v1::JobEvent& event, const FollowOptions& options, client::LiveView& view,
               Context& context) {
  if (options.is_quiet) {
    const std::string hint = view.PauseHint(event);
    if (!hint.empty()) context.err << options.id << " is " << hint << std::endl;
    return;
  }
  if (context.IsMachineReadable()) {
    context.out << ToJson(event, /*is_indented=*/false) << std::endl;
    return;
  }
  context.out << view.OnEvent(event) << std::flush;
}

// A coordinator of our own that is gone stays so: nobody else would start it again.
absl::Status CheckCoordinator(const std::string& id, Session& session, const Context& context) {
  if (session.process == nullptr) return absl::OkStatus();
  const absl::Status status = session.process->CheckRuns();
  if (status.ok()) return status;
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(), " (its log: ", context.StateDir(), "/coordinator.log). ", id,
                   " is stored and goes on with the next one: sotto --state_dir=",
                   context.StateDir(), " watch ", id));
}

absl::Status ShowEnd(const FollowOptions& options, const client::LiveView& view, Session& session,
                     Context& context) {
  ASSIGN_OR_RETURN(const v1::Job job, session.client->Get(options.id));
  context.exit_code = client::ExitCodeOfJob(job.state());
  if (options.is_quiet && context.IsMachineReadable()) {
    context.PrintJson(job);
  } else if (!context.IsMachineReadable()) {
    context.out << "\n" << view.Summary(job) << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Follow(const FollowOptions& options, Session& session, Context& context) {
  ASSIGN_OR_RETURN(const v1::Job job, session.client->Get(options.id));
  client::LiveView view({.is_terminal = context.is_terminal, .width = context.width});
  view.OnJob(job);

  std::atomic<bool> was_interrupted = false;
  std::atomic<bool> is_paused = job.state() == v1::PAUSED;  // Meant to go on: no Ctrl-C ends it.
  client::InterruptHandler interrupt([&] {
    was_interrupted = true;
    if (options.cancels_on_interrupt && !is_paused) {
      session.client->Cancel(options.id).status().IgnoreError();  // The watch shows how it ends.
    } else {
      session.client->Interrupt();
    }
  });
  const absl::Status status = session.client->Watch(
      {.id = options.id,
       .after_sequence = options.after_sequence,
       .steward = options.steward,
       .deadline = options.deadline,
       .may_return = [&] { return CheckCoordinator(options.id, session, context); }},
      [&](const v1::JobEvent& event) {
        if (event.has_state()) is_paused = event.state().state() == v1::PAUSED;
        ShowEvent(event, options, view, context);
      });
  context.out << view.Leave() << std::flush;
  if (was_interrupted && absl::IsCancelled(status)) {
    context.err << options.id << (is_paused ? " stays paused" : " keeps running")
                << "; come back with: sotto watch " << options.id << std::endl;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(status);
  return ShowEnd(options, view, session, context);
}

}  // namespace sotto::cli
