// The scheduler's transactions over store and ledger.
#ifndef SOTTO_SERVER_SCHEDULER_JOB_RECORDS_H_
#define SOTTO_SERVER_SCHEDULER_JOB_RECORDS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/sotto/v1/job.pb.h"
#include "server/database/work_queue.h"
#include "server/launcher/launcher.h"
#include "server/ledger/ledger.h"
#include "server/scheduler/attempt.h"
#include "server/scheduler/effects.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"

namespace sotto::scheduler {

// A job that had not ended when the last coordinator did.
struct LiveJob {
  v1::Job job;
  std::string token_sha256;  // of its current attempt; empty: none was started
  ReleasedBefore released_before;
  std::vector<Granted> grants;                     // of the current attempt
  std::vector<launcher::WorkerProcess> processes;  // of the current attempt, as recorded
};

// Each method is one transaction. Those that return a status wait for the commit: they are for the
// scheduler's own thread. Errors are the database's (UNAVAILABLE may pass) unless said otherwise.
class JobRecords {
 public:
  // What is passed outlives this object. The newest `kept_events` of a job are kept.
  JobRecords(database::WorkQueue& queue, store::JobStore& store, ledger::Ledger& ledger,
             int64_t kept_events)
      : queue_(queue), store_(store), ledger_(ledger), kept_events_(kept_events) {}

  // Scheduler::Admit, without waiting; `done` runs on the database's thread.
  void Admit(AdmitRequest request, absl::Time now,
             std::function<void(absl::StatusOr<AdmitResult>)> done);

  absl::Status Commit(const Persist& persist);

  // Fences older attempts and stores the new one. Gives what was committed to earlier ones.
  absl::StatusOr<ReleasedBefore> CommitAttempt(const Persist& persist,
                                               const std::string& token_sha256, absl::Time now);
  absl::Status CommitProcesses(const std::string& job, int64_t attempt,
                               const std::vector<launcher::WorkerProcess>& processes);

  // The grant, with its event. Empty: the reservation is used up. Other codes are the Ledger's.
  absl::StatusOr<Granted> CommitSteps(const std::string& job, const CommitGrant& wanted,
                                      absl::Time now);

  // What a worker measured, for plans to come; whether one with so many threads did.
  absl::Status CommitProfile(const v1::DeviceProfile& profile);
  absl::StatusOr<bool> HasProfile(int threads);

  absl::Status CommitStewardView(const std::string& job, const std::string& what);

  absl::StatusOr<std::vector<LiveJob>> LoadLive();
  // NOT_FOUND: no such job.
  absl::StatusOr<v1::Job> Load(const std::string& job);

 private:
  absl::Status Write(database::Transaction& transaction, const Persist& persist);
  // Appends, and deletes what is older than the kept ones.
  absl::Status WriteEvent(database::Transaction& transaction, const std::string& job,
                          const v1::JobEvent& event);
  absl::Status WriteCheckpoint(database::Transaction& transaction, const v1::Job& job,
                               const v1::JobEvent& event);
  // FAILED_PRECONDITION: a live job writes the same output.
  absl::Status CheckOutput(database::Transaction& transaction, const v1::JobPlan& plan);
  absl::Status WriteAdmission(database::Transaction& transaction, const AdmitRequest& request,
                              absl::Time now, AdmitResult& result, absl::Status& refusal);
  absl::StatusOr<LiveJob> LoadAttempt(database::Transaction& transaction, v1::Job job,
                                      const std::vector<store::ProcessRecord>& processes);
  absl::Status LoadGrants(database::Transaction& transaction, LiveJob& live);

  database::WorkQueue& queue_;
  store::JobStore& store_;
  ledger::Ledger& ledger_;
  const int64_t kept_events_;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_JOB_RECORDS_H_
