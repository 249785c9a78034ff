// PauseJob and ResumeJob, as clients see them.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "server/api/testing/api_fixture.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PauseTest : public ApiFixture {
 protected:
  // The demo's job on two workers, in this state.
  void PutJob(v1::JobState state) {
    v1::Job job;
    job.set_id("job-1");
    job.set_state(state);
    for (int i = 0; i < 5; ++i) job.add_history();
    const absl::StatusOr<v1::JobPlan> plan = planning::Plan(
        planning::MakeDemoSpec(), planning::MakeDemoDataset(), planning::MakeDemoHost());
    ASSERT_OK(plan);
    *job.mutable_plan() = *plan;
    reader_.PutJob(job);
  }

  static v1::ResumeJobRequest MakeRequest(int workers = 0) {
    v1::ResumeJobRequest request;
    request.set_id("job-1");
    if (workers > 0) request.mutable_workers()->set_count(workers);
    return request;
  }
  grpc::Status Resume(const v1::ResumeJobRequest& request, v1::Job* job) {
    grpc::ClientContext context;
    return jobs_->ResumeJob(&context, request, job);
  }
  grpc::Status Resume(const v1::ResumeJobRequest& request) {
    v1::Job ignored;
    return Resume(request, &ignored);
  }
};

TEST_F(PauseTest, PauseAnswersTheJob) {
  grpc::ClientContext context;
  v1::PauseJobRequest request;
  request.set_id("job-9");
  v1::Job job;
  ASSERT_TRUE(jobs_->PauseJob(&context, request, &job).ok());
  EXPECT_EQ(job.id(), "job-9");
  EXPECT_EQ(job.state(), v1::PAUSING);
}

TEST_F(PauseTest, CallersOverTcpMayDoNeither) {
  PutJob(v1::PAUSED);
  v1::Job job;
  grpc::ClientContext pause;
  EXPECT_EQ(remote_jobs_->PauseJob(&pause, v1::PauseJobRequest(), &job).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  grpc::ClientContext resume;
  EXPECT_EQ(remote_jobs_->ResumeJob(&resume, MakeRequest(), &job).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(scheduler_.resumed(), IsEmpty());
}

TEST_F(PauseTest, ResumeHandsTheSchedulerThePlanForTheNewWorkers) {
  PutJob(v1::PAUSED);
  v1::ResumeJobRequest request = MakeRequest(4);
  request.mutable_workers()->set_strategy(v1::SHARD_GRAD_OP);
  v1::Job job;
  const grpc::Status status = Resume(request, &job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(job.state(), v1::QUEUED);
  EXPECT_EQ(job.plan().sharding().world_size(), 4);
  ASSERT_THAT(scheduler_.resumed(), SizeIs(1));
  const scheduler::ResumeRequest resumed = scheduler_.resumed()[0];
  EXPECT_EQ(resumed.job, "job-1");
  EXPECT_EQ(resumed.seen_states, 5);
  EXPECT_EQ(resumed.plan.sharding().strategy(), v1::SHARD_GRAD_OP);
  EXPECT_EQ(resumed.plan.train().micro_batch_size(), 16) << "what two workers had";
}

TEST_F(PauseTest, ValidateOnlyAnswersThePlanAndChangesNothing) {
  PutJob(v1::PAUSED);
  v1::ResumeJobRequest request = MakeRequest(3);
  request.set_validate_only(true);
  v1::Job job;
  ASSERT_TRUE(Resume(request, &job).ok());
  EXPECT_EQ(job.state(), v1::PAUSED);
  EXPECT_EQ(job.plan().sharding().world_size(), 3);
  EXPECT_THAT(scheduler_.resumed(), IsEmpty());
  request.mutable_workers()->set_count(5);
  EXPECT_EQ(Resume(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(PauseTest, WhatDoesNotFitIsEveryBrokenRule) {
  PutJob(v1::PAUSED);
  v1::ResumeJobRequest request = MakeRequest(5);
  request.mutable_workers()->set_shard_group_size(2);
  const grpc::Status status = Resume(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  std::vector<std::string> fields;
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : details.field_violations()) fields.push_back(violation.field());
  EXPECT_THAT(fields, ElementsAre("workers.count", "workers.shard_group_size"));
  EXPECT_THAT(scheduler_.resumed(), IsEmpty());
}

TEST_F(PauseTest, OnlyPausedJobsAreResumed) {
  EXPECT_EQ(Resume(MakeRequest()).error_code(), grpc::StatusCode::NOT_FOUND);
  for (const v1::JobState state : {v1::QUEUED, v1::RUNNING, v1::PAUSING, v1::SUCCEEDED}) {
    PutJob(state);
    const grpc::Status status = Resume(MakeRequest());
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(status.error_message(), HasSubstr("it is " + v1::JobState_Name(state)));
    EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "NOT_PAUSED");
  }
  EXPECT_THAT(scheduler_.resumed(), IsEmpty());
}

}  // namespace
}  // namespace sotto::api
