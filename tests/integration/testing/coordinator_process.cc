#include "tests/integration/testing/coordinator_process.h"

#include <signal.h>

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::integration {
namespace {

constexpr int kNoMount = 99;  // the shell's exit status

}  // namespace

std::string CoordinatorBinary() {
  return std::filesystem::canonical("server/sotto-coordinator").string();
}

std::string WorkerBinary() { return std::filesystem::canonical("worker/sotto-worker").string(); }

absl::StatusOr<CoordinatorProcess> CoordinatorProcess::Start(const Options& options) {
  ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
  const std::string output = options.state_dir + ".coordinator.log";
  ChildProcess::Options process;
  process.arguments = {
      CoordinatorBinary(), absl::StrCat("--state_dir=", options.state_dir),
      absl::StrCat("--slots=", options.slots), absl::StrCat("--address_fd=", pipe.write_end.get()),
      absl::StrCat("--worker_binary=",
                   options.worker_binary.empty() ? WorkerBinary() : options.worker_binary)};
  process.arguments.insert(process.arguments.end(), options.extra_flags.begin(),
                           options.extra_flags.end());
  if (!options.mount.empty()) {
    const std::string command = absl::StrJoin(process.arguments, " ");
    process.arguments = {"/usr/bin/unshare", "-m", "/bin/sh", "-c",
                         absl::StrCat(options.mount, " || exit ", kNoMount, "; exec ", command)};
  }
  process.output_file = output;
  process.inherited_fd = pipe.write_end.get();
  ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(process));
  pipe.write_end.Reset();
  // Ends with the line, or with the process.
  ASSIGN_OR_RETURN(const std::string line, ReadAll(pipe.read_end.get()));
  const std::string address(absl::StripAsciiWhitespace(line));
  if (address.empty()) {
    const std::optional<ProcessEnd> end = child.Wait(absl::Seconds(30));
    if (end.has_value() && end->status == kNoMount) {
      return absl::PermissionDeniedError("mounts are not allowed here");
    }
    const absl::StatusOr<std::string> said = ReadFile(output);
    return absl::FailedPreconditionError(
        absl::StrCat("exit ", end.has_value() ? end->status : -1, ": ", said.ok() ? *said : ""));
  }
  return CoordinatorProcess(std::move(child), address);
}

void CoordinatorProcess::Kill() {
  process_.Signal(SIGKILL);
  process_.Wait(absl::Seconds(30));
}

std::optional<ProcessEnd> CoordinatorProcess::Terminate(absl::Duration timeout) {
  process_.Signal(SIGTERM);
  return process_.Wait(timeout);
}

}  // namespace sotto::integration
