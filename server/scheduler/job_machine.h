// One job's life as a pure state machine.
#ifndef SOTTO_SERVER_SCHEDULER_JOB_MACHINE_H_
#define SOTTO_SERVER_SCHEDULER_JOB_MACHINE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/sotto/v1/job.pb.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "server/launcher/launcher.h"
#include "server/scheduler/attempt.h"
#include "server/scheduler/effects.h"
#include "server/scheduler/policy.h"
#include "server/scheduler/scheduler.h"

namespace sotto::scheduler {

// Gets what happened and the time, and queues what is to be done; does nothing itself. Externally
// synchronised. After each input the owner takes and executes effects until there are none.
//
// The life of an attempt:
// 1. GiveSlots, or the end of a backoff in Tick, asks for StartAttempt; SetCredentials and
// OnLaunched answer. 2. OnHello welcomes each rank; with the last one the job is RUNNING. 3. Rank
// 0's GrantRequest asks for CommitGrant; OnGrantCommitted sends the grant to all ranks, or tells
// them to finish when the reservation is used up. 4. Reports and checkpoints become events. 5. The
// attempt gets an Ending: all ranks finished, one was lost, failed, fell silent, or the user
// cancels or pauses. Unless it is a clean one the rest is killed at once, otherwise when stop_grace
// is over. 6. With the last exit the job goes on to RECOVERING's backoff, to PAUSED or to its end;
// only there, and only when every rank said how far it came, do never-started steps go back to the
// reservation. 7. Resume puts a paused job into the queue again, by another plan.
//
// Inference is the same without 3: no step of its plan can be granted, so reports of steps are
// refused, and what its ranks call completed steps are prompts.
class JobMachine {
 public:
  // Epsilon of what earlier attempts released and of steps [first_step, end_step) of the current
  // one.
  using EpsilonOf =
      std::function<double(const ReleasedBefore& before, int64_t first_step, int64_t end_step)>;

  // A job that was just admitted (QUEUED), or one to Restore. `run_root` is absolute.
  JobMachine(v1::Job job, Policy policy, std::string run_root, EpsilonOf epsilon_of);

  // A job of an earlier life of the coordinator. `token_sha256`, `grants` and `processes` are those
  // of its current attempt. Live processes of a running attempt get reattach_grace; those of an
  // attempt that was only starting or ending are killed. `released_before`: see SetCredentials.
  void Restore(std::string token_sha256, ReleasedBefore released_before,
               std::vector<Granted> grants, const std::vector<launcher::WorkerProcess>& processes,
               absl::Time now);

  // QUEUED only.
  void GiveSlots(absl::Time now);
  void SetCredentials(std::string token, std::string token_sha256, std::string secret,
                      ReleasedBefore released_before);
  void OnLaunched(const std::vector<launcher::WorkerProcess>& processes, absl::Time now);
  void OnLaunchFailed(const absl::Status& status, absl::Time now);

  // The stream belongs to the machine from here on; a refused one gets Close.
  void OnHello(const v1::Hello& hello, const std::string& token_sha256, Scheduler::StreamId stream,
               absl::Time now);
  void OnMessage(Scheduler::StreamId stream, const v1::WorkerMessage& message, absl::Time now);
  void OnDetached(Scheduler::StreamId stream, absl::Time now);
  void OnExit(const launcher::WorkerExit& exit, absl::Time now);
  void OnGrantCommitted(const CommitGrant& wanted, Granted granted, absl::Time now);

  // The ledger would not commit it for a reason that is not the budget: our own mistake.
  void OnGrantFailed(const absl::Status& status, absl::Time now);

  // FAILED_PRECONDITION: the job has ended.
  absl::Status Cancel(absl::Time now);
  // As Scheduler::Pause and Resume. INTERNAL: `plan` promises something else than the job's own.
  absl::Status Pause(absl::Time now);
  absl::Status Resume(v1::JobPlan plan, int seen_states, absl::Time now);
  // The coordinator ends and takes its workers with it: they save a checkpoint, and the job waits
  // in RECOVERING for the next coordinator.
  void StopForShutdown(absl::Time now);
  // Whether rank 0 shall measure its device when it attaches.
  void WantProfile(bool wanted) { wants_profile_ = wanted; }
  void MarkStewardViewed() { job_.set_steward_viewed(true); }
  // From now on no attempt starts.
  void Freeze() { frozen_ = true; }

  void Tick(absl::Time now);
  // When Tick has something to do next.
  absl::Time NextDeadline() const;

  std::optional<Effect> TakeEffect();
  // Whether a grant for this attempt may still be committed.
  bool MayGrant(int64_t attempt) const;

  const v1::Job& job() const { return job_; }
  const Attempt& attempt() const { return attempt_; }
  int world_size() const { return job_.plan().sharding().world_size(); }
  // Starting to its end or a pause, with backoffs in between: a job keeps its slots.
  bool HoldsSlots() const {
    return job_.state() != v1::QUEUED && job_.state() != v1::PAUSED && !ended();
  }
  bool ended() const;
  bool AnyAlive() const { return attempt_.AnyAlive(); }
  // What the launcher needs for the current attempt; the address is the owner's.
  launcher::LaunchRequest MakeLaunchRequest() const;

 private:
  // Job level.
  Persist Transit(v1::JobState to, v1::StateReason reason, std::string message, absl::Time now);
  void StartNextAttempt(v1::StateReason reason, absl::Time now);
  void FinishIfOver(absl::Time now);
  // Both give the attempt its ending and kill what is alive; inputs finish it (FinishIfOver) last.
  void Lose(v1::StateReason reason, std::string message, absl::Time now);
  void Fail(v1::StateReason reason, std::string message, absl::Time now);
  void FinishAttempt(absl::Time now);
  // By the user's wish: CANCELLING or PAUSING. Ranks that train save a checkpoint first.
  void StopAttempt(v1::JobState to, std::string why, absl::Time now);
  // What the user stopped is over: CANCELLED, PAUSED, or done before it heard of it.
  Persist FinishStopped(bool clean, absl::Time now);
  bool FinishesItsStep(absl::Time now) const;
  void KillAlive();
  // Of an attempt whose ranks did all there was to do.
  v1::StateReason DoneReason() const;
  // Jobs that do not train get no grants and have no account.
  bool trains() const { return !job_.plan().has_inference(); }

  // Worker level.
  RankState* FindRank(Scheduler::StreamId stream, int* rank);
  void Welcome(int rank, int64_t next_step);
  void OnReport(const v1::StepReport& report, Scheduler::StreamId stream, absl::Time now);
  void OnCheckpoint(const v1::CheckpointDone& done, absl::Time now);
  void OnFinished(int rank, const launcher::ExitRecord& record, absl::Time now);
  void TryGrant();
  void SendStop(v1::Stop::Mode mode, std::string reason);
  void SendToAll(const v1::CoordinatorMessage& message);
  void AddEvent(v1::JobEvent event, absl::Time now, std::optional<Send> then = std::nullopt);

  v1::Job job_;
  const Policy policy_;
  const std::string run_root_;  // attempt and checkpoint folders are below it
  const EpsilonOf epsilon_of_;
  Attempt attempt_;
  absl::Time backoff_end_ = absl::InfiniteFuture();
  bool frozen_ = false;
  bool wants_profile_ = false;
  std::deque<Effect> effects_;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_JOB_MACHINE_H_
