// One rank's process: attaches to the coordinator, trains what it is told to, and says how it
// ended.
#ifndef SOTTO_WORKER_WORKER_H_
#define SOTTO_WORKER_WORKER_H_

#include <cstdint>
#include <string>

namespace sotto {

struct WorkerOptions {
  std::string coordinator;  // "unix:/path" or "host:port"
  std::string job;
  int64_t attempt = 0;
  int rank = 0;
  int world_size = 1;
  int token_fd = -1;  // read to its end, then closed: the attempt token, hex
  int memfd = -1;     // of the communicator; not used in a world of one
  std::string run_directory;
};

// Exit codes of the process.
enum WorkerExitCode : int {
  kExitDone = 0,  // all steps done, or stopped as told
  kExitFailure = 1,
  kExitInvalidData = 65,
  kExitInvalidCheckpoint = 66,
  kExitInternal = 70,
  kExitGraceExpired = 75,
  kExitProtocol = 76,
  kExitPlanCannotRun = 78,
};

// Runs to the end and writes run_directory/exit-<rank>.json by rename: the last word of this rank,
// for a coordinator that cannot reap it. Returns the exit code.
int RunWorker(const WorkerOptions& options);

}  // namespace sotto

#endif  // SOTTO_WORKER_WORKER_H_
