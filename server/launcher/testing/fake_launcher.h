// A launcher whose processes are entries of a table.
#ifndef SOTTO_SERVER_LAUNCHER_TESTING_FAKE_LAUNCHER_H_
#define SOTTO_SERVER_LAUNCHER_TESTING_FAKE_LAUNCHER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "server/launcher/launcher.h"

namespace sotto::launcher {

// Thread-safe. SIGKILL ends a fake process at once; other signals are only written down. Exits are
// reported on the thread that caused them.
class FakeLauncher : public Launcher {
 public:
  explicit FakeLauncher(ExitCallback on_exit) : on_exit_(std::move(on_exit)) {}

  absl::StatusOr<std::vector<WorkerProcess>> Launch(const LaunchRequest& request) override;
  void Adopt(const LaunchRequest& request, const std::vector<WorkerProcess>& processes) override;
  absl::Status Signal(const WorkerProcess& process, int signal) override;

  // The next Launch fails with `status` and starts nothing.
  void FailNextLaunch(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends a process by itself. False: no such process is alive.
  bool Exit(const std::string& job, int64_t attempt, int rank, WorkerExit::Kind kind, int code,
            std::optional<ExitRecord> record = std::nullopt) ABSL_LOCKS_EXCLUDED(mutex_);

  // Forgets who watches the processes, as a coordinator's death does: only adopted ones are
  // reported from now on, and to `on_exit`.
  void LoseCoordinator(ExitCallback on_exit) ABSL_LOCKS_EXCLUDED(mutex_);

  // In order of their launch.
  std::vector<LaunchRequest> launches() const ABSL_LOCKS_EXCLUDED(mutex_);
  int num_alive() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Process {
    LaunchRequest request;
    int rank = 0;
    bool watched = true;
  };

  void End(pid_t pid, WorkerExit::Kind kind, int code, std::optional<ExitRecord> record)
      ABSL_LOCKS_EXCLUDED(mutex_);

  mutable Mutex mutex_;
  ExitCallback on_exit_ ABSL_GUARDED_BY(mutex_);
  absl::Status next_launch_ ABSL_GUARDED_BY(mutex_);
  pid_t last_pid_ ABSL_GUARDED_BY(mutex_) = 1000;
  std::map<pid_t, Process> alive_ ABSL_GUARDED_BY(mutex_);
  std::vector<LaunchRequest> launches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_TESTING_FAKE_LAUNCHER_H_
