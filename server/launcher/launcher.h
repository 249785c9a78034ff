// Starts and ends the processes of a job's attempt. Knows nothing of jobs beyond their names.
#ifndef SOTTO_SERVER_LAUNCHER_LAUNCHER_H_
#define SOTTO_SERVER_LAUNCHER_LAUNCHER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sotto::launcher {

// A process that cannot be mistaken for another one: a process id is used again by the kernel, the
// three together never.
struct WorkerProcess {
  int rank = 0;
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks after boot, field 22 of /proc/PID/stat
  std::string boot_id;      // /proc/sys/kernel/random/boot_id
};

struct LaunchRequest {
  std::string job;
  int64_t attempt = 0;
  int world_size = 1;
  std::string
      token;  // hex; reaches every rank through a pipe of its own, never argv or environment
  int64_t communicator_bytes = 0;  // size of the memory that all ranks inherit
  std::string run_directory;  // absolute; created when missing; holds rank-R.log and exit-R.json
  std::string coordinator_address;  // what a rank dials: unix:/path
};

// What a worker wrote into exit-R.json: its own account of its end.
struct ExitRecord {
  enum class Outcome { kUnknown, kDone, kStopped, kFailed, kGraceExpired };
  Outcome outcome = Outcome::kUnknown;
  int reason = 0;  // v1::StateReason of a failure
  std::string message;
  int64_t started_steps = 0;
  int64_t completed_steps = 0;
};

struct WorkerExit {
  enum class Kind {
    kExited,     // `code` is the exit status
    kSignalled,  // `code` is the signal
    kVanished,   // an adopted process, not our child: its status went to another parent
  };
  std::string job;
  int64_t attempt = 0;
  int rank = 0;
  Kind kind = Kind::kVanished;
  int code = 0;
  std::optional<ExitRecord>
      record;  // of this attempt and rank; absent when the worker died before it wrote one

  std::string ToString() const;  // "rank 1 was killed by signal 9"
};

// Thread-safe. `on_exit` is called once for every launched or adopted process, on the launcher's
// thread, without a lock held and possibly before Launch or Adopt returns. It must not call the
// launcher's destructor.
class Launcher {
 public:
  using ExitCallback = std::function<void(const WorkerExit&)>;

  virtual ~Launcher() = default;

  // Starts all ranks, or none: when one cannot be started the others are killed, and reaped without
  // a callback. Processes outlive this object and this program. NOT_FOUND: no worker binary.
  // RESOURCE_EXHAUSTED: processes, memory or disk. INTERNAL: anything else.
  virtual absl::StatusOr<std::vector<WorkerProcess>> Launch(const LaunchRequest& request) = 0;

  // Watches processes that an earlier life of the coordinator started. One that is gone, or whose
  // process id belongs to another process now, is reported at once.
  virtual void Adopt(const LaunchRequest& request, const std::vector<WorkerProcess>& processes) = 0;

  // Sends `signal` to the process when it is still this process. NOT_FOUND: it is gone.
  virtual absl::Status Signal(const WorkerProcess& process, int signal) = 0;
};

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_LAUNCHER_H_
