// A program that a test starts, watches and kills.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_CHILD_PROCESS_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_CHILD_PROCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/fd.h"

namespace sotto::integration {

// How a program ended: an exit status, or a signal.
struct ProcessEnd {
  int status = 0;
  int signal = 0;
};

// Killed and reaped when destroyed. Not thread-safe.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> arguments;  // the first is the program's path
    std::string output_file;             // gets stdout and stderr, appended
    int inherited_fd = -1;               // stays open in the program, under the same number
  };

  static absl::StatusOr<ChildProcess> Start(const Options& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // Absent: it has not ended in time.
  std::optional<ProcessEnd> Wait(absl::Duration timeout);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;  // -1: reaped
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_CHILD_PROCESS_H_
