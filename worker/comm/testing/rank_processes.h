// Ranks as processes, for tests: the test binary spawns itself (never fork: a process that ran a
// two-threaded ATen operation hangs after it).
//
// A test binary that uses this has gtest_main = False and `main` calls RankTestMain. What a rank
// does is a body with a name:
//   const RankBodyRegistration kSum("sum", [](const RankContext& context) -> absl::Status { ... });
#ifndef SOTTO_WORKER_COMM_TESTING_RANK_PROCESSES_H_
#define SOTTO_WORKER_COMM_TESTING_RANK_PROCESSES_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/fd.h"

namespace sotto::comm {

struct RankContext {
  int rank = 0;
  int world_size = 1;
  int memfd = -1;
  std::string argument;  // what Options::argument says
};

using RankBody = absl::Status (*)(const RankContext& context);

// Has a static lifetime, at namespace scope of a test.
class RankBodyRegistration {
 public:
  RankBodyRegistration(const char* name, RankBody body);
};

// Runs a body when this process is a rank (its exit code is 0 when the body returns OK), else all
// tests.
int RankTestMain(int argc, char** argv);

class RankProcesses {
 public:
  struct Options {
    std::string body;
    int world_size = 1;
    int64_t memfd_bytes = 0;
    std::string argument;
  };

  // Spawns all ranks. Ends the test process on a system error.
  explicit RankProcesses(const Options& options);
  // Kills and reaps what still runs.
  ~RankProcesses();

  pid_t pid(int rank) const { return pids_[rank]; }
  void Kill(int rank);

  // Waits until every rank has ended, and kills those that have not by then. True when each rank's
  // body returned OK, but for `except`, which may end in any way (-1: none).
  bool AllSucceed(int except = -1, absl::Duration timeout = absl::Minutes(4));

 private:
  UniqueFd memfd_;
  std::vector<pid_t> pids_;
  std::vector<bool> running_;
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_TESTING_RANK_PROCESSES_H_
