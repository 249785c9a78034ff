// Pause and resume over the real store and ledger: slots, charges, crashes of the coordinator.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/testing/scheduler_fixture.h"

namespace sotto::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class JobSchedulerPauseTest : public SchedulerFixture {
 protected:
  // A job of 40 steps on two ranks that paused in order after ten of them, with twenty granted.
  std::string Paused() {
    const absl::StatusOr<AdmitResult> result = Admit(MakePlan(), "key");
    EXPECT_OK(result);
    const std::string job = result->job.id();
    const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
    Ask(ranks[0], 0);
    Report(ranks[0], job, 0, 6);
    Ask(ranks[0], 10);
    Report(ranks[0], job, 6, 10);
    EXPECT_EQ(AccountOf(job).committed, 20);
    const absl::StatusOr<v1::Job> pausing = Pause(job);
    EXPECT_OK(pausing);
    EXPECT_EQ(pausing->state(), v1::PAUSING);
    EXPECT_EQ(ranks[1].channel->messages.back().stop().mode(), v1::Stop::CHECKPOINT);
    FinishAll(job, ranks, 10, v1::Finished::STOPPED);
    EXPECT_EQ(Stored(job).state(), v1::PAUSED);
    return job;
  }
};

TEST_F(JobSchedulerPauseTest, SlotsAreFreedAndEveryStepIsChargedOnce) {
  const std::string job = Paused();
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 0);
  EXPECT_EQ(AccountOf(job).committed, 10) << "what never started was returned";
  EXPECT_EQ(AccountOf(job).reserved, 40);
  EXPECT_FALSE(AccountOf(job).settled);
  EXPECT_EQ(fake_launcher_.num_alive(), 0);

  ASSERT_OK_AND_ASSIGN(const AdmitResult other, Admit(MakePlan(40, 2)));
  EXPECT_EQ(Stored(other.job.id()).state(), v1::STARTING) << "in the slots of the paused one";
  ASSERT_OK_AND_ASSIGN(const v1::Job queued, Resume(job, 1));
  EXPECT_EQ(queued.state(), v1::QUEUED);
  EXPECT_THAT(queued.message(), HasSubstr("from 2 workers"));
  RunToEnd(other.job.id(), {Attach(other.job.id(), 0), Attach(other.job.id(), 1)}, 0, 40);

  EXPECT_EQ(LaunchOf(job).attempt, 2);
  EXPECT_EQ(LaunchOf(job).world_size, 1);
  const FakeRank rank = Attach(job, 0);
  EXPECT_EQ(rank.channel->messages[0].welcome().plan().sharding().world_size(), 1);
  EXPECT_THAT(rank.channel->messages[0].welcome().secret(), SizeIs(32)) << "a fresh one";
  RunToEnd(job, {rank}, 10, 40);
  const v1::Job ended = Stored(job);
  EXPECT_EQ(ended.state(), v1::SUCCEEDED);
  EXPECT_EQ(ended.restarts(), 0);
  EXPECT_EQ(AccountOf(job).committed, 40);
  EXPECT_EQ(AccountOf(job).released, 0);
  ExpectLedgerIsSound();
  int64_t sequence = 0;
  int64_t step = 0;
  double epsilon = 0;
  for (const v1::JobEvent& event : Events(job)) {
    EXPECT_EQ(event.sequence(), ++sequence);
    if (!event.has_step()) continue;
    EXPECT_EQ(event.step().step(), step++);
    EXPECT_GT(event.step().epsilon(), epsilon) << "over the pause, too";
    epsilon = event.step().epsilon();
  }
  EXPECT_EQ(step, 40);
}

TEST_F(JobSchedulerPauseTest, StepsLostWhilePausingArePaidAgain) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 60)));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 3);
  ASSERT_OK(Pause(job));
  fake_launcher_.Exit(job, 1, 1, launcher::WorkerExit::Kind::kSignalled, 9);
  Pump();
  EXPECT_EQ(Stored(job).state(), v1::PAUSED);
  EXPECT_EQ(AccountOf(job).committed, 10) << "nobody knows what was started";
  ASSERT_OK(Resume(job, 2));
  ranks = {Attach(job, 0), Attach(job, 1)};
  RunToEnd(job, ranks, 0, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(AccountOf(job).committed, 50);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerPauseTest, APausedJobSurvivesTheCoordinatorAndSoDoesItsNewPlan) {
  const std::string job = Paused();
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(Stored(job).state(), v1::PAUSED);
  EXPECT_EQ(LaunchOf(job).attempt, 1) << "nothing starts by itself";
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 0);
  ASSERT_OK(Resume(job, 1));
  EXPECT_EQ(Stored(job).plan().sharding().world_size(), 1);
  EXPECT_EQ(Stored(job).plan().spec().workers().count(), 1);
  KillScheduler();
  StartScheduler();
  Pump();
  EXPECT_EQ(LaunchOf(job).world_size, 1);
  RunToEnd(job, {Attach(job, 0)}, 10, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(AccountOf(job).committed, 40);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerPauseTest, ACoordinatorThatComesBackFinishesThePause) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 3);
  ASSERT_OK(Pause(job));
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(Stored(job).state(), v1::PAUSING);
  ranks = {Attach(job, 0, 4), Attach(job, 1, 4)};
  EXPECT_EQ(ranks[1].channel->messages.back().stop().mode(), v1::Stop::CHECKPOINT);
  FinishAll(job, ranks, 4, v1::Finished::STOPPED);
  EXPECT_EQ(Stored(job).state(), v1::PAUSED);
  EXPECT_EQ(AccountOf(job).committed, 4);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerPauseTest, ACancelledPausedJobReleasesItsReservation) {
  const std::string job = Paused();
  ASSERT_OK_AND_ASSIGN(const v1::Job cancelled, Cancel(job));
  EXPECT_EQ(cancelled.state(), v1::CANCELLED);
  EXPECT_EQ(AccountOf(job).committed, 10);
  EXPECT_EQ(AccountOf(job).released, 30);
  EXPECT_TRUE(AccountOf(job).settled);
  EXPECT_THAT(Pause(job), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("ended")));
  EXPECT_THAT(Resume(job, 1), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("ended")));
  EXPECT_THAT(Pause("job-99"), StatusIs(absl::StatusCode::kNotFound));
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerPauseTest, TheRequestThatMadeAJobStillNamesItAfterItChangedWorkers) {
  const std::string job = Paused();
  ASSERT_OK(Resume(job, 1));
  ASSERT_OK_AND_ASSIGN(const AdmitResult again, Admit(MakePlan(), "key"));
  EXPECT_TRUE(again.existing);
  EXPECT_EQ(again.job.id(), job);
  v1::JobPlan other = MakePlan();
  other.mutable_spec()->mutable_workers()->set_count(1);
  EXPECT_THAT(Admit(other, "key"), StatusIs(absl::StatusCode::kAlreadyExists))
      << "as before the pause, though it is what the job has become";
}

TEST_F(JobSchedulerPauseTest, ADrainingCoordinatorResumesNothing) {
  const std::string job = Paused();
  scheduler_->Drain();
  EXPECT_THAT(Resume(job, 2), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Stored(job).state(), v1::PAUSED);
}

}  // namespace
}  // namespace sotto::scheduler
