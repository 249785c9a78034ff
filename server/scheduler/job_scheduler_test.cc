#include "server/scheduler/job_scheduler.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/testing/scheduler_fixture.h"

namespace sotto::scheduler {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using JobSchedulerTest = SchedulerFixture;

TEST_F(JobSchedulerTest, AdmissionStoresTheJobAndReservesItsCost) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 44)));
  EXPECT_FALSE(result.existing);
  EXPECT_EQ(result.job.state(), v1::QUEUED);
  EXPECT_EQ(AccountOf(result.job.id()).reserved, 44);
  EXPECT_EQ(AccountOf(result.job.id()).committed, 0);
}

TEST_F(JobSchedulerTest, OverBudgetIsRefusedAndRecordedAndLeavesNoJob) {
  EXPECT_THAT(Admit(MakePlan(50'000'000)), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(fake_launcher_.launches(), IsEmpty());
  const auto page = Read<ledger::EntryPage>(
      [&](auto& transaction) { return ledger_.ListEntries(transaction, "data", 0, 100); });
  EXPECT_EQ(page.entries.back().kind(), v1::LedgerEntry::REFUSED);
  EXPECT_THAT(Read<std::vector<v1::Job>>(
                  [&](auto& transaction) { return store_->ListLiveJobs(transaction); }),
              IsEmpty());
}

TEST_F(JobSchedulerTest, RequestIdMakesAdmissionIdempotent) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(MakePlan(), "key"));
  ASSERT_OK_AND_ASSIGN(const AdmitResult second, Admit(MakePlan(), "key"));
  EXPECT_TRUE(second.existing);
  EXPECT_EQ(second.job.id(), first.job.id());
  v1::JobPlan other = MakePlan();
  other.mutable_spec()->set_name("other");
  EXPECT_THAT(Admit(other, "key"), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(fake_launcher_.launches(), SizeIs(1));
}

TEST_F(JobSchedulerTest, JobRunsToItsEndAndReleasesTheRest) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 50)));
  const std::string job = result.job.id();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  RunToEnd(job, ranks, 0, 40);
  const v1::Job stored = Stored(job);
  EXPECT_EQ(stored.state(), v1::SUCCEEDED);
  EXPECT_EQ(stored.reason(), v1::STEPS_DONE);
  EXPECT_EQ(stored.completed_steps(), 40);
  EXPECT_GT(stored.epsilon(), 0);
  EXPECT_TRUE(stored.has_end_time());
  EXPECT_EQ(AccountOf(job).committed, 40);
  EXPECT_EQ(AccountOf(job).released, 10);
  EXPECT_TRUE(AccountOf(job).settled);
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 0);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerTest, EventsAreDenseAndReportsCarryEpsilonAndBudget) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  RunToEnd(job, {Attach(job, 0), Attach(job, 1)}, 0, 40);
  int64_t sequence = 0;
  int64_t steps = 0;
  double epsilon = 0;
  for (const v1::JobEvent& event : Events(job)) {
    EXPECT_EQ(event.sequence(), ++sequence);
    if (!event.has_step()) continue;
    EXPECT_EQ(event.step().step(), steps++);
    EXPECT_GT(event.step().epsilon(), epsilon);
    EXPECT_GT(event.step().budget_left_epsilon(), 0);
    EXPECT_LT(event.step().budget_left_epsilon(), 8);
    epsilon = event.step().epsilon();
  }
  EXPECT_EQ(steps, 40);
  EXPECT_EQ(Stored(job).epsilon(), epsilon);
}

TEST_F(JobSchedulerTest, GrantIsInTheLedgerBeforeItIsSent) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  // Looks into the ledger, from another connection, at the moment of sending.
  class LookingChannel : public WorkerChannel {
   public:
    explicit LookingChannel(std::function<int64_t()> committed)
        : committed_(std::move(committed)) {}
    void Send(const v1::CoordinatorMessage& message) override {
      if (!message.has_grant()) return;
      ++grants;
      EXPECT_GE(committed_(), message.grant().end_step());
    }
    void Close(const absl::Status&) override {}
    int grants = 0;

   private:
    std::function<int64_t()> committed_;
  };
  FakeRank zero = Attach(job, 0);
  const auto looking = std::make_shared<LookingChannel>([&] { return AccountOf(job).committed; });
  v1::Hello hello;
  hello.set_protocol_version(1);
  hello.set_job(job);
  hello.set_attempt(1);
  hello.set_rank(1);
  hello.set_attempt_token(LaunchOf(job).token);
  scheduler_->Attach(hello, looking);
  Pump();
  Ask(zero, 0);
  Ask(zero, 10);
  EXPECT_EQ(looking->grants, 2);
}

TEST_F(JobSchedulerTest, SlotsAreGivenInOrderAndToWholeGangs) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult one, Admit(MakePlan(40, 1)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult two, Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult three, Admit(MakePlan(40, 1)));
  EXPECT_EQ(Stored(one.job.id()).state(), v1::STARTING);
  EXPECT_EQ(Stored(two.job.id()).state(), v1::QUEUED) << "two ranks do not fit one slot";
  EXPECT_EQ(Stored(three.job.id()).state(), v1::QUEUED) << "it would overtake";
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 1);
  RunToEnd(one.job.id(), {Attach(one.job.id(), 0)}, 0, 40);
  EXPECT_EQ(Stored(two.job.id()).state(), v1::STARTING);
  EXPECT_EQ(Stored(three.job.id()).state(), v1::QUEUED);
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
}

TEST_F(JobSchedulerTest, CancelledWhileQueuedReleasesItsReservation) {
  ASSERT_OK(Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult waiting, Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const v1::Job cancelled, Cancel(waiting.job.id()));
  EXPECT_EQ(cancelled.state(), v1::CANCELLED);
  EXPECT_TRUE(AccountOf(waiting.job.id()).settled);
  EXPECT_THAT(Cancel(waiting.job.id()), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Cancel("job-99"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace sotto::scheduler
