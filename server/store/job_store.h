// Jobs, their events, attempts, processes and checkpoints, as the coordinator keeps them.
#ifndef SOTTO_SERVER_STORE_JOB_STORE_H_
#define SOTTO_SERVER_STORE_JOB_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/sotto/v1/job.pb.h"
#include "server/database/transaction.h"
#include "server/store/job_reader.h"

namespace sotto::store {

// One life of a job's workers. Written before they are launched, so that a restarted coordinator
// knows whom to expect.
struct AttemptRecord {
  std::string job;
  int64_t attempt = 0;  // from 1
  int world_size = 0;
  std::string token_sha256;  // hex; of the attempt token, which itself is never stored
  absl::Time start_time;
};

// A worker process. A pid alone is not an identity: pids are used again.
struct ProcessRecord {
  std::string job;
  int64_t attempt = 0;
  int rank = 0;
  int64_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/<pid>/stat
  std::string boot_id;
};

// A complete checkpoint on disk.
struct CheckpointRecord {
  std::string job;
  int64_t attempt = 0;
  int64_t step = 0;  // first step not in it
  std::string path;
  absl::Time time;
};

// Every method runs inside the caller's transaction, together with the ledger's if need be; nothing
// is visible to readers before it is committed. Stateless apart from the database. NOT_FOUND: no
// such job, unless said otherwise. Other errors are the database's (transaction.h).
class JobStore {
 public:
  virtual ~JobStore() = default;

  // A fresh id, "job-<number>". Used up even if no job is created with it, if the transaction is
  // committed.
  virtual absl::StatusOr<std::string> AllocateJobId(database::Transaction& transaction) = 0;

  // Stores a job under its (allocated) id. No event is written: append the first state change.
  // ALREADY_EXISTS: the id, or its nonempty request_id, is in use. INVALID_ARGUMENT: an id that
  // AllocateJobId never gives.
  virtual absl::Status CreateJob(database::Transaction& transaction, const v1::Job& job) = 0;

  virtual absl::StatusOr<v1::Job> GetJob(database::Transaction& transaction,
                                         absl::string_view id) = 0;
  // NOT_FOUND: no job was submitted with it.
  virtual absl::StatusOr<v1::Job> GetJobByRequestId(database::Transaction& transaction,
                                                    absl::string_view request_id) = 0;
  // All jobs in no terminal state, oldest first, with their plans.
  virtual absl::StatusOr<std::vector<v1::Job>> ListLiveJobs(database::Transaction& transaction) = 0;
  virtual absl::StatusOr<JobPage> ListJobs(database::Transaction& transaction,
                                           const JobQuery& query) = 0;

  // Replaces everything of the stored job but its plan and its request_id, which never changes.
  // FAILED_PRECONDITION: the stored state is terminal and `job`'s is another.
  virtual absl::Status UpdateJob(database::Transaction& transaction, const v1::Job& job) = 0;

  // Replaces the plan, its spec included. FAILED_PRECONDITION: the job has ended.
  virtual absl::Status ReplacePlan(database::Transaction& transaction, absl::string_view id,
                                   const v1::JobPlan& plan) = 0;
  // The spec of the plan that the job was created with, whatever has replaced it since.
  virtual absl::StatusOr<v1::JobSpec> GetSubmittedSpec(database::Transaction& transaction,
                                                       absl::string_view id) = 0;

  // Appends an event (its `sequence` is ignored) and gives its sequence number: dense, from 1.
  // Listeners are told after the commit. ALREADY_EXISTS: a step report of this (attempt, step) is
  // stored; nothing is written.
  virtual absl::StatusOr<int64_t> AppendEvent(database::Transaction& transaction,
                                              absl::string_view job, const v1::JobEvent& event) = 0;
  virtual absl::StatusOr<EventPage> ReadEvents(database::Transaction& transaction,
                                               absl::string_view job, int64_t after_sequence,
                                               int limit) = 0;
  // Deletes the events below `oldest_sequence`, which becomes the floor; the newest event always
  // stays. Never lowers it.
  virtual absl::Status CompactEvents(database::Transaction& transaction, absl::string_view job,
                                     int64_t oldest_sequence) = 0;

  // ALREADY_EXISTS: (job, attempt) is stored.
  virtual absl::Status PutAttempt(database::Transaction& transaction,
                                  const AttemptRecord& record) = 0;
  // NOT_FOUND: no such attempt.
  virtual absl::StatusOr<AttemptRecord> GetAttempt(database::Transaction& transaction,
                                                   absl::string_view job, int64_t attempt) = 0;

  // Stores or replaces the process of (job, attempt, rank).
  virtual absl::Status PutProcess(database::Transaction& transaction,
                                  const ProcessRecord& record) = 0;
  // Forgets processes that have ended. OK when there is none.
  virtual absl::Status RemoveProcess(database::Transaction& transaction, absl::string_view job,
                                     int64_t attempt, int rank) = 0;
  // Of all jobs, by job, attempt and rank.
  virtual absl::StatusOr<std::vector<ProcessRecord>> ListProcesses(
      database::Transaction& transaction) = 0;

  // Stores or replaces the checkpoint of (job, step). Does not touch the job's own fields.
  virtual absl::Status PutCheckpoint(database::Transaction& transaction,
                                     const CheckpointRecord& record) = 0;
  virtual absl::Status RemoveCheckpoint(database::Transaction& transaction, absl::string_view job,
                                        int64_t step) = 0;
  // Stores or replaces the profile of its number of threads.
  virtual absl::Status PutDeviceProfile(database::Transaction& transaction,
                                        const v1::DeviceProfile& profile) = 0;
  // Ascending by threads.
  virtual absl::StatusOr<std::vector<v1::DeviceProfile>> ListDeviceProfiles(
      database::Transaction& transaction) = 0;

  // Newest step first.
  virtual absl::StatusOr<std::vector<CheckpointRecord>> ListCheckpoints(
      database::Transaction& transaction, absl::string_view job) = 0;
};

// SUCCEEDED, FAILED or CANCELLED.
bool IsTerminal(v1::JobState state);

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_JOB_STORE_H_
