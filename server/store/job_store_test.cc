#include "server/store/job_store.h"

#include <future>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "server/database/testing/test_database.h"
#include "server/store/job_store_schema.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::store {
namespace {

using ::sotto::database::TestDatabase;
using ::sotto::database::Transaction;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JobStoreTest : public ::testing::Test {
 protected:
  // Runs `work` as one committed request.
  absl::Status Write(const database::Work& work) { return database_->SubmitAndWait(work); }

  absl::StatusOr<std::string> Create(v1::JobState state = v1::QUEUED,
                                     const std::string& request_id = "") {
    std::string id;
    RETURN_IF_ERROR(Write([&](Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(id, store_.AllocateJobId(transaction));
      v1::Job job;
      job.set_id(id);
      job.set_name("name of " + id);
      job.set_state(state);
      job.set_request_id(request_id);
      job.mutable_plan()->mutable_train()->set_steps(200);
      return store_.CreateJob(transaction, job);
    }));
    return id;
  }

  absl::StatusOr<v1::Job> Get(const std::string& id) {
    std::promise<absl::StatusOr<v1::Job>> result;
    store_.GetJob(id, [&](absl::StatusOr<v1::Job> job) { result.set_value(std::move(job)); });
    return result.get_future().get();
  }

  absl::StatusOr<JobPage> List(const JobQuery& query) {
    std::promise<absl::StatusOr<JobPage>> result;
    store_.ListJobs(query,
                    [&](absl::StatusOr<JobPage> page) { result.set_value(std::move(page)); });
    return result.get_future().get();
  }

  TestDatabase database_{std::vector<database::Schema>{JobStoreSchema()}};
  SqliteJobStore store_{*database_};
};

std::vector<std::string> IdsOf(const std::vector<v1::Job>& jobs) {
  std::vector<std::string> ids;
  for (const v1::Job& job : jobs) ids.push_back(job.id());
  return ids;
}

TEST_F(JobStoreTest, JobComesBackWithItsPlan) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create());
  EXPECT_EQ(id, "job-1");
  ASSERT_OK_AND_ASSIGN(const v1::Job job, Get(id));
  EXPECT_EQ(job.name(), "name of job-1");
  EXPECT_EQ(job.state(), v1::QUEUED);
  EXPECT_EQ(job.plan().train().steps(), 200);
}

TEST_F(JobStoreTest, OtherSpellingsOfAnIdAreNotFound) {
  ASSERT_OK(Create());
  for (const char* id : {"", "1", "job-", "job-01", "job-+1", "job-1 ", "job-2", "job-x"}) {
    EXPECT_THAT(Get(id), StatusIs(absl::StatusCode::kNotFound)) << id;
  }
}

TEST_F(JobStoreTest, RequestIdNamesOneJobOnly) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create(v1::QUEUED, "r1"));
  EXPECT_THAT(Create(v1::QUEUED, "r1"),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("r1")));
  ASSERT_OK(Create());
  ASSERT_OK(Create());  // Unset request ids do not collide.
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    EXPECT_EQ(store_.GetJobByRequestId(transaction, "r1")->id(), id);
    EXPECT_THAT(store_.GetJobByRequestId(transaction, "r2"), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(store_.GetJobByRequestId(transaction, ""), StatusIs(absl::StatusCode::kNotFound));
    return absl::OkStatus();
  }));
}

TEST_F(JobStoreTest, RefusedRequestLeavesNoJob) {
  EXPECT_THAT(Write([&](Transaction& transaction) -> absl::Status {
                v1::Job job;
                job.set_id("job-1");
                RETURN_IF_ERROR(store_.CreateJob(transaction, job));
                return absl::ResourceExhaustedError("budget");
              }),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Get("job-1"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(JobStoreTest, APlanIsReplacedAndTheSubmittedSpecStays) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create());
  const auto replace = [&](int workers) {
    v1::JobPlan plan;
    plan.mutable_train()->set_steps(200);
    plan.mutable_spec()->mutable_workers()->set_count(workers);
    return Write([&](Transaction& t) { return store_.ReplacePlan(t, id, plan); });
  };
  const auto submitted_workers = [&] {
    int workers = -1;
    EXPECT_OK(database_->ReadAndWait([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(const v1::JobSpec spec, store_.GetSubmittedSpec(t, id));
      workers = spec.workers().count();
      return absl::OkStatus();
    }));
    return workers;
  };
  for (const int workers : {3, 5}) {
    ASSERT_OK(replace(workers));
    ASSERT_OK_AND_ASSIGN(const v1::Job job, Get(id));
    EXPECT_EQ(job.plan().spec().workers().count(), workers);
    EXPECT_EQ(job.plan().train().steps(), 200);
    EXPECT_EQ(job.name(), "name of job-1");
    EXPECT_EQ(submitted_workers(), 0) << "as it was created";
  }
  v1::Job ended;
  ended.set_id(id);
  ended.set_state(v1::CANCELLED);
  ASSERT_OK(Write([&](Transaction& t) { return store_.UpdateJob(t, ended); }));
  EXPECT_THAT(replace(7), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("CANCELLED")));
  EXPECT_THAT(Write([&](Transaction& t) { return store_.ReplacePlan(t, "job-9", {}); }),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(JobStoreTest, UpdateKeepsPlanAndRequestId) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create(v1::QUEUED, "r1"));
  v1::Job update;
  update.set_id(id);
  update.set_state(v1::RUNNING);
  update.set_attempt(2);
  ASSERT_OK(Write([&](Transaction& t) { return store_.UpdateJob(t, update); }));
  database_.Close();
  ASSERT_OK(database_.TryReopen());
  SqliteJobStore reopened(*database_);
  ASSERT_OK(database_->ReadAndWait([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const v1::Job job, reopened.GetJobByRequestId(transaction, "r1"));
    EXPECT_EQ(job.state(), v1::RUNNING);
    EXPECT_EQ(job.attempt(), 2);
    EXPECT_EQ(job.request_id(), "r1");
    EXPECT_EQ(job.plan().train().steps(), 200);
    return absl::OkStatus();
  }));
}

TEST_F(JobStoreTest, EndedJobKeepsItsState) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create(v1::FAILED));
  v1::Job update;
  update.set_id(id);
  update.set_state(v1::RUNNING);
  EXPECT_THAT(Write([&](Transaction& t) { return store_.UpdateJob(t, update); }),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("FAILED")));
  update.set_state(v1::FAILED);
  update.set_steward_viewed(true);
  EXPECT_OK(Write([&](Transaction& t) { return store_.UpdateJob(t, update); }));
  EXPECT_TRUE(Get(id)->steward_viewed());
}

TEST_F(JobStoreTest, LiveJobsAreThoseNotEndedOldestFirst) {
  for (v1::JobState state : {v1::QUEUED, v1::SUCCEEDED, v1::RUNNING, v1::CANCELLED, v1::FAILED}) {
    ASSERT_OK(Create(state));
  }
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, store_.ListLiveJobs(transaction));
    EXPECT_THAT(IdsOf(jobs), ElementsAre("job-1", "job-3"));
    EXPECT_EQ(jobs.at(0).plan().train().steps(), 200);
    return absl::OkStatus();
  }));
}

TEST_F(JobStoreTest, PagesCoverAllJobsNewestFirst) {
  for (int i = 0; i < 5; ++i) ASSERT_OK(Create(i % 2 == 0 ? v1::QUEUED : v1::FAILED));
  JobQuery query;
  query.limit = 2;
  ASSERT_OK_AND_ASSIGN(JobPage page, List(query));
  EXPECT_THAT(IdsOf(page.jobs), ElementsAre("job-5", "job-4"));
  EXPECT_FALSE(page.jobs[0].has_plan());
  ASSERT_OK(Create());  // A new job does not shift later pages.
  query.before_number = page.next_before_number;
  ASSERT_OK_AND_ASSIGN(page, List(query));
  EXPECT_THAT(IdsOf(page.jobs), ElementsAre("job-3", "job-2"));
  query.before_number = page.next_before_number;
  ASSERT_OK_AND_ASSIGN(page, List(query));
  EXPECT_THAT(IdsOf(page.jobs), ElementsAre("job-1"));
  EXPECT_EQ(page.next_before_number, 0);

  query.before_number = 0;
  query.states = {static_cast<v1::JobState>(77)};
  ASSERT_OK_AND_ASSIGN(page, List(query));
  EXPECT_THAT(page.jobs, IsEmpty());
  query.states = {v1::FAILED, v1::CANCELLED};
  ASSERT_OK_AND_ASSIGN(page, List(query));
  EXPECT_THAT(IdsOf(page.jobs), ElementsAre("job-4", "job-2"));
  EXPECT_EQ(page.next_before_number, 0);
}

TEST_F(JobStoreTest, AttemptIsStoredOnce) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create());
  AttemptRecord record;
  record.job = id;
  record.attempt = 1;
  record.world_size = 2;
  record.token_sha256 = "ab";
  record.start_time = absl::FromUnixSeconds(1000);
  ASSERT_OK(Write([&](Transaction& t) { return store_.PutAttempt(t, record); }));
  EXPECT_THAT(Write([&](Transaction& t) { return store_.PutAttempt(t, record); }),
              StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const AttemptRecord stored, store_.GetAttempt(transaction, id, 1));
    EXPECT_EQ(stored.world_size, 2);
    EXPECT_EQ(stored.token_sha256, "ab");
    EXPECT_EQ(stored.start_time, record.start_time);
    EXPECT_THAT(store_.GetAttempt(transaction, id, 2), StatusIs(absl::StatusCode::kNotFound));
    return absl::OkStatus();
  }));
  record.job = "job-77";
  EXPECT_THAT(Write([&](Transaction& t) { return store_.PutAttempt(t, record); }),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(JobStoreTest, ProcessesAreReplacedListedAndForgotten) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create());
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    for (int rank = 0; rank < 3; ++rank) {
      RETURN_IF_ERROR(store_.PutProcess(transaction, {id, 1, rank, 100 + rank, 5, "boot"}));
    }
    RETURN_IF_ERROR(store_.PutProcess(transaction, {id, 1, 1, 201, ~uint64_t{0}, "boot"}));
    return store_.RemoveProcess(transaction, id, 1, 2);
  }));
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<ProcessRecord> processes, store_.ListProcesses(transaction));
    EXPECT_EQ(processes.size(), 2);
    EXPECT_EQ(processes.at(0).pid, 100);
    EXPECT_EQ(processes.at(1).job, id);
    EXPECT_EQ(processes.at(1).pid, 201);
    EXPECT_EQ(processes.at(1).start_time, ~uint64_t{0});
    EXPECT_EQ(processes.at(1).boot_id, "boot");
    return store_.RemoveProcess(transaction, id, 1, 2);
  }));
}

TEST_F(JobStoreTest, TheLastProfileOfEachNumberOfThreadsIsKept) {
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    v1::DeviceProfile profile;
    for (const auto& [threads, flops] : {std::pair(4, 1.0), std::pair(2, 2.0), std::pair(4, 3.0)}) {
      profile.set_threads(threads);
      profile.set_product_flops(flops);
      RETURN_IF_ERROR(store_.PutDeviceProfile(transaction, profile));
    }
    ASSIGN_OR_RETURN(const std::vector<v1::DeviceProfile> profiles,
                     store_.ListDeviceProfiles(transaction));
    EXPECT_EQ(profiles.size(), 2);
    EXPECT_EQ(profiles.at(0).threads(), 2);
    EXPECT_EQ(profiles.at(1).threads(), 4);
    EXPECT_EQ(profiles.at(1).product_flops(), 3);
    return absl::OkStatus();
  }));
}

TEST_F(JobStoreTest, CheckpointsAreListedNewestFirst) {
  ASSERT_OK_AND_ASSIGN(const std::string id, Create());
  const absl::Time time = absl::FromUnixSeconds(5);
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(store_.PutCheckpoint(transaction, {id, 1, 8, "a", time}));
    RETURN_IF_ERROR(store_.PutCheckpoint(transaction, {id, 1, 40, "b", time}));
    RETURN_IF_ERROR(store_.PutCheckpoint(transaction, {id, 1, 16, "c", time}));
    RETURN_IF_ERROR(store_.PutCheckpoint(transaction, {id, 2, 40, "d", time}));
    return store_.RemoveCheckpoint(transaction, id, 8);
  }));
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<CheckpointRecord> checkpoints,
                     store_.ListCheckpoints(transaction, id));
    EXPECT_EQ(checkpoints.size(), 2);
    EXPECT_EQ(checkpoints.at(0).path, "d");
    EXPECT_EQ(checkpoints.at(0).attempt, 2);
    EXPECT_EQ(checkpoints.at(1).step, 16);
    EXPECT_EQ(checkpoints.at(1).time, time);
    return absl::OkStatus();
  }));
}

}  // namespace
}  // namespace sotto::store
