// What the coordinator knows of one life of a job's workers.
#ifndef SOTTO_SERVER_SCHEDULER_ATTEMPT_H_
#define SOTTO_SERVER_SCHEDULER_ATTEMPT_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/sotto/v1/job.pb.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "server/launcher/launcher.h"
#include "server/scheduler/scheduler.h"

namespace sotto::scheduler {

// Steps [first_step, end_step), committed.
struct Granted {
  int64_t first_step = 0;
  int64_t end_step = 0;
};

// What the ledger had committed to earlier attempts of the job: all of it counts as released, for
// nobody knows how much was not.
struct ReleasedBefore {
  std::vector<int64_t> compositions;  // by noise segment; empty: none
  int64_t run_end = 0;                // the end of the steps that they may have run
};

struct RankState {
  Scheduler::StreamId stream = 0;  // 0: none
  bool alive = false;              // the process; false before launch and after its end
  launcher::WorkerProcess process;
  absl::Time heard = absl::InfiniteFuture();  // last message, or when the stream was lost
  int64_t started_steps = 0;                  // steps below this were started, as far as is known
  std::optional<launcher::ExitRecord>
      record;  // its own account of its end: Finished or exit-R.json
};

// Why an attempt ends. Set once; the job moves on when the last process has ended.
struct Ending {
  enum class Kind {
    kDone,     // every rank did all steps
    kBudget,   // the reservation is used up
    kLost,     // may be restarted
    kFatal,    // would fail again
    kStopped,  // the user cancels or pauses: the job's state says which
  };
  Kind kind = Kind::kDone;
  v1::StateReason reason = v1::STATE_REASON_UNSPECIFIED;
  std::string message;
};

struct Attempt {
  int64_t number = 0;
  bool restored = false;     // started by an earlier life of the coordinator
  std::string token;         // hex; empty when restored
  std::string token_sha256;  // hex
  std::string secret;        // 32 bytes; empty: not private, or restored
  ReleasedBefore released_before;
  std::vector<RankState> ranks;
  std::vector<Granted> grants;              // contiguous, ascending
  std::optional<v1::GrantRequest> request;  // waits for RUNNING, or for outstanding grants
  bool committing = false;                  // a grant is on its way to the ledger
  double seconds_per_step = 0;
  v1::Stop::Mode stop = v1::Stop::MODE_UNSPECIFIED;  // what was sent
  std::string stop_reason;
  std::optional<Ending> ending;
  absl::Time start_deadline = absl::InfiniteFuture();
  absl::Time kill_time = absl::InfiniteFuture();  // of what is still alive then

  int64_t granted_end() const { return grants.empty() ? -1 : grants.back().end_step; }
  bool AnyAlive() const;
  bool AllAttached() const;
  // Whether every rank left a record, and each outcome is one of `outcomes`.
  bool AllEnded(std::initializer_list<launcher::ExitRecord::Outcome> outcomes) const;
  // Largest of the ranks': a step counts as started when any rank started it.
  int64_t StartedSteps() const;
  // Grants that rank 0 has not used up.
  int Outstanding() const;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_ATTEMPT_H_
