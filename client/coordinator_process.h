// A coordinator that a client starts for itself.
#ifndef SOTTO_CLIENT_COORDINATOR_PROCESS_H_
#define SOTTO_CLIENT_COORDINATOR_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sotto::client {

// Runs `sotto-coordinator` on a persistent state folder and stops it when destroyed. Not
// thread-safe.
class CoordinatorProcess {
 public:
  struct Options {
    std::string executable;  // unset: sotto-coordinator beside this program
    std::string state_dir;
    int slots = 0;               // workers at once; 0: the coordinator's default
    bool stops_workers = false;  // when it ends; else they go on, for the next coordinator
  };

  // Returns once the coordinator listens. Its log goes to <state_dir>/coordinator.log. NOT_FOUND:
  // no executable. UNAVAILABLE: it ended before it listened; the message is the last of its log (a
  // locked folder names its holder).
  static absl::StatusOr<std::unique_ptr<CoordinatorProcess>> Start(const Options& options);

  ~CoordinatorProcess();
  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;

  const std::string& address() const { return address_; }

  // UNAVAILABLE once it has ended without being asked to; says how.
  absl::Status CheckRuns();

  // Asks it to stop and waits. Workers that it stops save a checkpoint; their jobs go on when the
  // folder is used again.
  void Stop();

 private:
  CoordinatorProcess(pid_t pid, std::string address) : pid_(pid), address_(std::move(address)) {}

  pid_t pid_;            // 0: it has ended
  int wait_status_ = 0;  // when it ended by itself
  const std::string address_;
};

// $XDG_STATE_HOME/sotto, or ~/.local/state/sotto.
std::string DefaultStateDir();

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_COORDINATOR_PROCESS_H_
