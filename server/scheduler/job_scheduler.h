// The scheduler: machines of all live jobs, the slots, and the thread that moves them.
#ifndef SOTTO_SERVER_SCHEDULER_JOB_SCHEDULER_H_
#define SOTTO_SERVER_SCHEDULER_JOB_SCHEDULER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "server/database/work_queue.h"
#include "server/launcher/launcher.h"
#include "server/ledger/ledger.h"
#include "server/scheduler/effects.h"
#include "server/scheduler/job_machine.h"
#include "server/scheduler/job_records.h"
#include "server/scheduler/policy.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"

namespace sotto::scheduler {

// Jobs get slots, one per rank, in the order of their submission, resumed ones included; the first
// that does not fit holds back those behind it. All of a job's ranks start together, and it keeps
// its slots through recoveries.
//
// Calls from other threads are put into the inbox; everything else belongs to the scheduler's
// thread. It takes the whole inbox, lets every machine see the time, gives out slots, and executes
// effects until there are none: transactions (several reports of one job are one), then messages
// and processes. It waits for commits, so nothing is ever sent that a crash could take back.
class JobScheduler : public Scheduler {
 public:
  using MakeLauncher = std::function<absl::StatusOr<std::unique_ptr<launcher::Launcher>>(
      launcher::Launcher::ExitCallback)>;

  struct Options {
    int slots = 1;
    std::string run_root;             // absolute; the state directory
    std::string coordinator_address;  // what workers dial
    Policy policy;
    // These outlive the scheduler.
    Clock* clock = nullptr;
    database::WorkQueue* queue = nullptr;
    store::JobStore* store = nullptr;
    ledger::Ledger* ledger = nullptr;
    MakeLauncher make_launcher;
  };

  // Loads the jobs that had not ended and adopts their processes. Errors: the database's, the
  // launcher's.
  static absl::StatusOr<std::unique_ptr<JobScheduler>> Create(Options options);
  // As Stop.
  ~JobScheduler() override;

  void Admit(AdmitRequest request, std::function<void(absl::StatusOr<AdmitResult>)> done) override;
  void Cancel(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) override;
  void Pause(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) override;
  void Resume(ResumeRequest request, std::function<void(absl::StatusOr<v1::Job>)> done) override;
  StreamId Attach(v1::Hello hello, std::shared_ptr<WorkerChannel> channel) override;
  void Receive(StreamId stream, v1::WorkerMessage message) override;
  void Detach(StreamId stream) override;
  void RecordStewardView(std::string job, std::string what,
                         std::function<void(absl::Status)> done) override;
  SlotsInfo Slots() const override;

  // Starts the thread. Without it, RunOnce does its work: tests call that themselves.
  void Start();
  // Takes the inbox and does everything that can be done now; gives the time at which there is more
  // to do. Not while the thread runs.
  absl::Time RunOnce();

  // From now on nothing is admitted and no attempt starts; workers go on.
  void Drain();
  // Also has every worker save a checkpoint and end; their jobs wait in RECOVERING. Blocks until
  // the last process is gone, or `timeout` is over.
  void StopWorkers(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the thread. What is in the inbox by then is done first.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a worker process was alive after the last RunOnce.
  bool any_alive() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Stream {
    std::string job;
    std::shared_ptr<WorkerChannel> channel;
  };

  explicit JobScheduler(Options options);

  void Post(std::function<void()> input) ABSL_LOCKS_EXCLUDED(mutex_);
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status RestoreJobs();

  // What a user asks of a job; answers when its effects are executed.
  void Change(std::string job, std::function<absl::Status(JobMachine&)> change,
              std::function<void(absl::StatusOr<v1::Job>)> done) ABSL_LOCKS_EXCLUDED(mutex_);
  JobMachine* Find(const std::string& job);
  JobMachine& AddMachine(const v1::Job& job);
  void AddStream(StreamId stream, const v1::Hello& hello, std::shared_ptr<WorkerChannel> channel);
  void AssignSlots();
  bool ExecuteAll();
  void Execute(JobMachine& machine, Effect effect);
  void ExecuteStart(JobMachine& machine, const StartAttempt& start);
  void ExecuteGrant(JobMachine& machine, const CommitGrant& wanted);
  void ExecuteSend(const Send& send);
  void ExecuteClose(const Close& close);
  // Runs a transaction until it gets another answer than UNAVAILABLE, or the scheduler stops:
  // without its database a coordinator can do nothing but wait.
  absl::Status UntilAvailable(const std::function<absl::Status()>& transaction)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // An answer that must not be: no job goes on, workers run out of grants.
  void Halt(const absl::Status& status);

  const Options options_;
  Clock& clock_;
  JobRecords records_;
  std::atomic<StreamId> last_stream_ = 0;
  std::atomic<int> slots_in_use_ = 0;

  // Of the scheduler's thread.
  std::map<int64_t, std::unique_ptr<JobMachine>> machines_;  // by number: order of submission
  std::map<StreamId, Stream> streams_;
  std::vector<std::function<void()>> answers_;  // after all effects
  bool draining_ = false;
  bool halted_ = false;

  mutable Mutex mutex_;
  std::deque<std::function<void()>> inbox_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool any_alive_ ABSL_GUARDED_BY(mutex_) = false;  // worker processes, after the last RunOnce

  std::unique_ptr<launcher::Launcher> launcher_;  // its thread posts to the inbox
  std::thread thread_;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_JOB_SCHEDULER_H_
