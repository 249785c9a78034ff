// The job store on the coordinator's database.
#ifndef SOTTO_SERVER_STORE_SQLITE_JOB_STORE_H_
#define SOTTO_SERVER_STORE_SQLITE_JOB_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/database/work_queue.h"
#include "server/store/event_listeners.h"
#include "server/store/job_reader.h"
#include "server/store/job_store.h"

namespace sotto::store {

// Thread-safe: its state is in the database, whose schemas must have JobStoreSchema(). Jobs are in
// sqlite_job_store.cc, events in sqlite_job_events.cc, the rest in sqlite_job_records.cc.
class SqliteJobStore : public JobStore, public JobReader {
 public:
  // `database` outlives this.
  explicit SqliteJobStore(database::WorkQueue& database) : database_(database) {}

  absl::StatusOr<std::string> AllocateJobId(database::Transaction& transaction) override;
  absl::Status CreateJob(database::Transaction& transaction, const v1::Job& job) override;
  absl::StatusOr<v1::Job> GetJob(database::Transaction& transaction, absl::string_view id) override;
  absl::StatusOr<v1::Job> GetJobByRequestId(database::Transaction& transaction,
                                            absl::string_view request_id) override;
  absl::StatusOr<std::vector<v1::Job>> ListLiveJobs(database::Transaction& transaction) override;
  absl::StatusOr<JobPage> ListJobs(database::Transaction& transaction,
                                   const JobQuery& query) override;
  absl::Status UpdateJob(database::Transaction& transaction, const v1::Job& job) override;
  absl::Status ReplacePlan(database::Transaction& transaction, absl::string_view id,
                           const v1::JobPlan& plan) override;
  absl::StatusOr<v1::JobSpec> GetSubmittedSpec(database::Transaction& transaction,
                                               absl::string_view id) override;

  absl::StatusOr<int64_t> AppendEvent(database::Transaction& transaction, absl::string_view job,
                                      const v1::JobEvent& event) override;
  absl::StatusOr<EventPage> ReadEvents(database::Transaction& transaction, absl::string_view job,
                                       int64_t after_sequence, int limit) override;
  absl::Status CompactEvents(database::Transaction& transaction, absl::string_view job,
                             int64_t oldest_sequence) override;

  absl::Status PutAttempt(database::Transaction& transaction, const AttemptRecord& record) override;
  absl::StatusOr<AttemptRecord> GetAttempt(database::Transaction& transaction,
                                           absl::string_view job, int64_t attempt) override;
  absl::Status PutProcess(database::Transaction& transaction, const ProcessRecord& record) override;
  absl::Status RemoveProcess(database::Transaction& transaction, absl::string_view job,
                             int64_t attempt, int rank) override;
  absl::StatusOr<std::vector<ProcessRecord>> ListProcesses(
      database::Transaction& transaction) override;
  absl::Status PutCheckpoint(database::Transaction& transaction,
                             const CheckpointRecord& record) override;
  absl::Status RemoveCheckpoint(database::Transaction& transaction, absl::string_view job,
                                int64_t step) override;
  absl::StatusOr<std::vector<CheckpointRecord>> ListCheckpoints(database::Transaction& transaction,
                                                                absl::string_view job) override;

  absl::Status PutDeviceProfile(database::Transaction& transaction,
                                const v1::DeviceProfile& profile) override;
  absl::StatusOr<std::vector<v1::DeviceProfile>> ListDeviceProfiles(
      database::Transaction& transaction) override;

  void GetJob(std::string id, Done<v1::Job> done) override;
  void ListJobs(JobQuery query, Done<JobPage> done) override;
  void ReadEvents(std::string job, int64_t after_sequence, int limit,
                  Done<EventPage> done) override;
  void ListDeviceProfiles(Done<std::vector<v1::DeviceProfile>> done) override;
  std::shared_ptr<void> Listen(EventListener listener) override;

 private:
  database::WorkQueue& database_;
  EventListeners listeners_;
};

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_SQLITE_JOB_STORE_H_
