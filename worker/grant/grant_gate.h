// The only way to a StepGrant.
//
//   control thread                 trainer thread
//   Extend(grant)  --> granted --> Authorize(step) --> StepGrant --> sampler, mechanism
//   Stop(mode)     --> stopped --> Authorize returns CANCELLED
//
// 1. Authorize returns at once while the step is granted; the ledger was charged before the grant
// was sent.
// 2. With half of the latest grant used, or none left, the gate asks for more (Requester), once for
// each first step.
// 3. It blocks only when empty: until granted, stopped, or `coordinator_grace` has passed.
#ifndef SOTTO_WORKER_GRANT_GRANT_GATE_H_
#define SOTTO_WORKER_GRANT_GRANT_GATE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "worker/grant/grant.h"

namespace sotto::grant {

enum class StopMode {
  kCheckpoint,  // stop before the next step, save
  kAbort,       // stop before the next step, save nothing
  kFinish,      // use up what was granted, then save and end well: the budget is used up
};

// Thread-safe; Authorize is for one thread, the trainer's.
class GrantGate {
 public:
  // Asks the coordinator for steps from `first_step` on. Called without locks held, by the
  // trainer's thread.
  using Requester = std::function<void(int64_t first_step)>;

  struct Options {
    int64_t attempt = 0;
    int64_t end_step = 0;  // of the job, exclusive: nothing is asked for beyond it
    absl::Duration coordinator_grace = absl::Minutes(5);
    Clock* clock = nullptr;  // required; outlives the gate
    Requester request_more;  // unset: another rank asks
  };

  explicit GrantGate(Options options) : options_(std::move(options)) {}

  // Blocks until `step` is granted. Ranks may see a Stop at different steps: the train loop agrees
  // on the earliest one by a collective before it uses the token. Each step is authorised at most
  // once, in ascending order. CANCELLED: stopped, see stop_mode(). DEADLINE_EXCEEDED: nothing was
  // granted for coordinator_grace; save and end with exit code 75. FAILED_PRECONDITION: the step,
  // or a later one, was authorised before. Guarantee: no StepGrant exists for a step outside the
  // grants of this attempt, and no two exist for one step.
  absl::StatusOr<StepGrant> Authorize(int64_t step) ABSL_LOCKS_EXCLUDED(mutex_);

  // A grant that was sent again, or overlaps an earlier one, is no error and gives nothing twice.
  // ABORTED: of another attempt. INVALID_ARGUMENT: empty or negative range.
  absl::Status Extend(const Grant& grant) ABSL_LOCKS_EXCLUDED(mutex_);

  // A stronger mode replaces a weaker one: kFinish < kCheckpoint < kAbort.
  void Stop(StopMode mode) ABSL_LOCKS_EXCLUDED(mutex_);

  std::optional<StopMode> stop_mode() const ABSL_LOCKS_EXCLUDED(mutex_);

  // First step after everything granted so far; 0 before any grant.
  int64_t granted_end() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Steps below this were authorised; -1 before the first.
  int64_t next_step() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool IsGranted(int64_t step) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The first step to ask for now, if it is time to ask.
  std::optional<int64_t> TakeRequest(int64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool StopsNow(int64_t step) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  std::vector<Grant> grants_ ABSL_GUARDED_BY(mutex_);
  std::optional<StopMode> stop_ ABSL_GUARDED_BY(mutex_);
  int64_t next_step_ ABSL_GUARDED_BY(mutex_) = -1;
  int64_t requested_from_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace sotto::grant

#endif  // SOTTO_WORKER_GRANT_GRANT_GATE_H_
