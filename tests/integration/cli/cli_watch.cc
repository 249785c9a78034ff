#include "tests/integration/cli/cli_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"

namespace sotto::integration {
namespace {

constexpr int kSilenceMilliseconds = 60'000;  // longer than any step, start or backoff

}  // namespace

absl::StatusOr<CliWatch> CliWatch::Start(const std::string& folder,
                                         std::vector<std::string> arguments) {
  const std::string fifo = absl::StrCat(folder, "/cli.fifo");
  unlink(fifo.c_str());
  if (mkfifo(fifo.c_str(), 0600) != 0) return absl::ErrnoToStatus(errno, fifo);
  // Open before the program is started, which opens the other end: neither waits for the other.
  ASSIGN_OR_RETURN(UniqueFd output, OpenFile(fifo, O_RDONLY | O_NONBLOCK));
  arguments.insert(arguments.begin(), CliBinary(folder));
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start({.arguments = arguments, .output_file = fifo}));
  return CliWatch(std::move(process), std::move(output));
}

absl::Status CliWatch::AwaitText(const std::string& text) {
  while (!absl::StrContains(text_, text)) {
    ASSIGN_OR_RETURN(const bool is_running, ReadMore());
    if (!is_running) return absl::OutOfRangeError(absl::StrCat("ended after: ", text_));
  }
  return absl::OkStatus();
}

void CliWatch::Interrupt() { process_.Signal(SIGINT); }

absl::StatusOr<CliOutcome> CliWatch::Finish() {
  bool is_running = true;
  while (is_running) {
    ASSIGN_OR_RETURN(is_running, ReadMore());
  }
  const std::optional<ProcessEnd> end = process_.Wait(absl::Minutes(1));
  if (!end.has_value()) return absl::DeadlineExceededError("sotto closed its output, but lives");
  if (end->signal != 0) {
    return absl::InternalError(absl::StrCat("sotto died of signal ", end->signal, ": ", text_));
  }
  return CliOutcome{.code = end->status, .text = text_};
}

absl::StatusOr<bool> CliWatch::ReadMore() {
  pollfd readable{output_.get(), POLLIN, 0};
  const int ready = poll(&readable, 1, kSilenceMilliseconds);
  if (ready < 0 && errno == EINTR) return true;
  if (ready <= 0) return absl::DeadlineExceededError(absl::StrCat("silent after: ", text_));
  char buffer[4096];
  const ssize_t count = read(output_.get(), buffer, sizeof(buffer));
  if (count < 0) return absl::ErrnoToStatus(errno, "output of sotto");
  text_.append(buffer, count);
  return count > 0;
}

}  // namespace sotto::integration
