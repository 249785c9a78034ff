// `sotto` while it runs, read line by line.
#ifndef SOTTO_TESTS_INTEGRATION_CLI_CLI_WATCH_H_
#define SOTTO_TESTS_INTEGRATION_CLI_CLI_WATCH_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "tests/integration/cli/cli_process.h"
#include "tests/integration/testing/child_process.h"

namespace sotto::integration {

// Killed when destroyed. Not thread-safe.
class CliWatch {
 public:
  // `folder` gets a FIFO, through which stdout and stderr come.
  static absl::StatusOr<CliWatch> Start(const std::string& folder,
                                        std::vector<std::string> arguments);

  // Reads until `text` has been written. DEADLINE_EXCEEDED, with what was: not within a minute.
  // OUT_OF_RANGE: the program ended before.
  absl::Status AwaitText(const std::string& text);
  void Interrupt();
  // Reads to the end, and gives everything that was written.
  absl::StatusOr<CliOutcome> Finish();

 private:
  CliWatch(ChildProcess process, UniqueFd output)
      : process_(std::move(process)), output_(std::move(output)) {}

  // False: end of output.
  absl::StatusOr<bool> ReadMore();

  ChildProcess process_;
  UniqueFd output_;
  std::string text_;
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_CLI_CLI_WATCH_H_
