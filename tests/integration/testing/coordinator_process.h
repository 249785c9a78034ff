// A real coordinator over a folder of its own.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_COORDINATOR_PROCESS_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_COORDINATOR_PROCESS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/integration/testing/child_process.h"

namespace sotto::integration {

// Paths of the binaries under test, absolute.
std::string CoordinatorBinary();
std::string WorkerBinary();

class CoordinatorProcess {
 public:
  struct Options {
    std::string state_dir;
    int slots = 4;
    std::vector<std::string> extra_flags;
    std::string worker_binary;  // empty: the real one
    // A shell command to run first, in a mount namespace that the coordinator then lives in. When
    // it fails: PERMISSION_DENIED.
    std::string mount;
  };

  // Waits until it serves. An error holds what it wrote before it ended, and its exit status.
  static absl::StatusOr<CoordinatorProcess> Start(const Options& options);

  // Of its Unix socket.
  const std::string& address() const { return address_; }
  pid_t pid() const { return process_.pid(); }

  void Kill();  // SIGKILL, reaped
  // SIGTERM. Absent: it did not end in time.
  std::optional<ProcessEnd> Terminate(absl::Duration timeout = absl::Seconds(90));

 private:
  CoordinatorProcess(ChildProcess process, std::string address)
      : process_(std::move(process)), address_(std::move(address)) {}

  ChildProcess process_;
  std::string address_;
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_COORDINATOR_PROCESS_H_
