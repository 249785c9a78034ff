// Watching one job to its end, for the verbs that do.
#ifndef SOTTO_CLIENT_CLI_FOLLOW_H_
#define SOTTO_CLIENT_CLI_FOLLOW_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/context.h"

namespace sotto::cli {

struct FollowOptions {
  std::string id;
  int64_t after_sequence = 0;
  bool steward = false;
  bool is_quiet = false;              // only wait
  bool cancels_on_interrupt = false;  // Ctrl-C cancels the job instead of leaving it
  absl::Time deadline = absl::InfiniteFuture();
};

// Shows the job's events as they come: a live view for people, one JSON object a line for machines
// (the last one is the event that ends the job). Then the summary, and the exit code of the job.
// Ctrl-C leaves the job running and says how to come back. Errors as of JobClient::Watch.
absl::Status Follow(const FollowOptions& options, Session& session, Context& context);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_FOLLOW_H_
