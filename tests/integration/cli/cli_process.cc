#include "tests/integration/cli/cli_process.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tests/integration/testing/child_process.h"

namespace sotto::integration {

std::string CliBinary(const std::string& folder) {
  const std::string installed = folder + "/bin/sotto";
  if (std::filesystem::exists(installed)) return installed;
  return std::filesystem::canonical("client/cli/sotto").string();
}

absl::Status InstallBinaries(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directory(folder + "/bin", error);
  for (const char* program :
       {"client/cli/sotto", "server/sotto-coordinator", "worker/sotto-worker"}) {
    const std::filesystem::path source = std::filesystem::canonical(program, error);
    if (!error)
      std::filesystem::copy_file(source, folder + "/bin/" + source.filename().string(), error);
    if (error) return absl::NotFoundError(absl::StrCat(program, ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<CliOutcome> RunCli(const std::string& folder, std::vector<std::string> arguments) {
  const std::string output = absl::StrCat(folder, "/cli.out");
  std::filesystem::remove(output);
  arguments.insert(arguments.begin(), CliBinary(folder));
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start({.arguments = arguments, .output_file = output}));
  const std::optional<ProcessEnd> end = process.Wait(absl::Minutes(1));
  CliOutcome outcome;
  ASSIGN_OR_RETURN(outcome.text, ReadFile(output));
  if (!end.has_value()) {
    return absl::DeadlineExceededError(absl::StrCat("sotto does not end; it wrote ", outcome.text));
  }
  if (end->signal != 0) {
    return absl::InternalError(
        absl::StrCat("sotto died of signal ", end->signal, ": ", outcome.text));
  }
  outcome.code = end->status;
  return outcome;
}

}  // namespace sotto::integration
