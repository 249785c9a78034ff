#include "server/scheduler/job_scheduler.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/testing/answer.h"
#include "server/scheduler/testing/scheduler_fixture.h"

namespace sotto::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

using JobSchedulerRecoveryTest = SchedulerFixture;

TEST_F(JobSchedulerRecoveryTest, RerunStepsArePaidUntilTheReservationIsUsedUp) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 45)));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 6);
  Ask(ranks[0], 10);
  fake_launcher_.Exit(job, 1, 1, launcher::WorkerExit::Kind::kSignalled, 9);
  Pump();
  EXPECT_EQ(fake_launcher_.num_alive(), 0);
  EXPECT_EQ(AccountOf(job).committed, 20) << "nobody knows what was started";
  clock_.Advance(absl::Minutes(1));
  Pump();
  EXPECT_EQ(LaunchOf(job).attempt, 2);

  ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 6);
  Ask(ranks[0], 10);
  Report(ranks[0], job, 6, 16);
  Ask(ranks[0], 20);
  Report(ranks[0], job, 16, 21);
  EXPECT_EQ(AccountOf(job).committed, 45);
  Ask(ranks[0], 25);
  EXPECT_EQ(ranks[1].channel->messages.back().stop().mode(), v1::Stop::FINISH);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerRecoveryTest, CoordinatorThatComesBackGoesOnWithLiveWorkers) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 3);
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
  ranks = {Attach(job, 0, 4), Attach(job, 1, 4)};
  EXPECT_EQ(ranks[0].channel->messages[1].grant().end_step(), 10);
  Report(ranks[0], job, 2, 10);  // step 2 was sent again: its acknowledgement was lost
  Ask(ranks[0], 10);
  RunToEnd(job, ranks, 10, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(job).attempt(), 1);
  EXPECT_EQ(AccountOf(job).committed, 40);
  int64_t reports = 0;
  for (const v1::JobEvent& event : Events(job)) reports += event.has_step();
  EXPECT_EQ(reports, 40);
}

TEST_F(JobSchedulerRecoveryTest, WorkersThatDoNotComeBackAreReplaced) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 60)));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  KillScheduler();
  StartScheduler();
  Attach(job, 0, 4);
  clock_.Advance(Policy().reattach_grace);
  Pump();
  Pump();
  EXPECT_EQ(LaunchOf(job).attempt, 2);
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
  ranks = {Attach(job, 0), Attach(job, 1)};
  RunToEnd(job, ranks, 0, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(job).restarts(), 0);
  EXPECT_EQ(AccountOf(job).committed, 50);
}

TEST_F(JobSchedulerRecoveryTest, QueuedJobsSurviveTheCoordinator) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(MakePlan()));
  ASSERT_OK_AND_ASSIGN(const AdmitResult second, Admit(MakePlan()));
  KillScheduler();
  StartScheduler(/*slots=*/4);
  EXPECT_EQ(Stored(second.job.id()).state(), v1::STARTING);
}

TEST_F(JobSchedulerRecoveryTest, SecretAndTokenAreNowhereInTheDatabase) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  FakeRank rank = Attach(result.job.id(), 0);
  const std::string secret = rank.channel->messages[0].welcome().secret();
  const std::string token = LaunchOf(result.job.id()).token;
  ASSERT_EQ(secret.size(), 32);
  ASSERT_EQ(token.size(), 64);
  scheduler_ = nullptr;
  database_.Close();
  for (const std::string suffix : {"", "-wal"}) {
    const absl::StatusOr<std::string> bytes = ReadFile(database_.path() + suffix);
    if (!bytes.ok()) continue;  // Closing may remove the WAL.
    EXPECT_THAT(*bytes, Not(HasSubstr(secret)));
    EXPECT_THAT(*bytes, Not(HasSubstr(token)));
  }
}

TEST_F(JobSchedulerRecoveryTest, OldCheckpointsAreForgotten) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  const std::string job = result.job.id();
  FakeRank rank = Attach(job, 0);
  Ask(rank, 0);
  for (const int64_t step : {2, 4, 6}) {
    v1::WorkerMessage message;
    message.mutable_checkpoint_done()->set_step(step);
    message.mutable_checkpoint_done()->set_path(absl::StrCat("/state/step-", step));
    scheduler_->Receive(rank.stream, message);
  }
  Pump();
  EXPECT_EQ(Stored(job).checkpoint_step(), 6);
  const auto checkpoints = Read<std::vector<store::CheckpointRecord>>(
      [&](auto& transaction) { return store_->ListCheckpoints(transaction, job); });
  EXPECT_THAT(checkpoints, SizeIs(2));
}

TEST_F(JobSchedulerRecoveryTest, StewardViewIsOnTheJobAndInTheLedger) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  absl::Status answer = absl::UnknownError("no answer");
  scheduler_->RecordStewardView(result.job.id(), "logs", [&](auto status) { answer = status; });
  Pump();
  EXPECT_OK(answer);
  RunToEnd(result.job.id(), {Attach(result.job.id(), 0)}, 0, 40);
  EXPECT_TRUE(Stored(result.job.id()).steward_viewed()) << "later changes must keep the mark";
}

TEST_F(JobSchedulerRecoveryTest, DrainingCoordinatorAdmitsNothingAndStartsNothing) {
  ASSERT_OK(Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult waiting, Admit(MakePlan(40, 2)));
  scheduler_->Drain();
  Pump();
  EXPECT_THAT(Admit(MakePlan()), StatusIs(absl::StatusCode::kUnavailable));
  RunToEnd("job-1", {Attach("job-1", 0), Attach("job-1", 1)}, 0, 40);
  EXPECT_EQ(Stored("job-1").state(), v1::SUCCEEDED) << "live ones go on";
  EXPECT_EQ(Stored(waiting.job.id()).state(), v1::QUEUED);
}

TEST_F(JobSchedulerRecoveryTest, FailedLaunchIsTriedAgain) {
  fake_launcher_.FailNextLaunch(absl::ResourceExhaustedError("no memory"));
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  EXPECT_EQ(Stored(result.job.id()).state(), v1::RECOVERING);
  EXPECT_THAT(Stored(result.job.id()).message(), HasSubstr("no memory"));
  clock_.Advance(absl::Minutes(1));
  Pump();
  EXPECT_EQ(Stored(result.job.id()).state(), v1::STARTING);
}

TEST_F(JobSchedulerRecoveryTest, ThreadAnswersWithoutBeingDriven) {
  scheduler_->Start();
  // More ranks than slots, as after a restart with fewer slots: it stays in the queue.
  Answer<absl::StatusOr<AdmitResult>> admitted;
  scheduler_->Admit({MakePlan(40, 3), ""}, [&](auto given) { admitted.Set(std::move(given)); });
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, admitted.Await());
  Answer<absl::StatusOr<v1::Job>> cancelled;
  scheduler_->Cancel(result.job.id(), [&](auto given) { cancelled.Set(std::move(given)); });
  const absl::StatusOr<v1::Job> job = cancelled.Await();
  ASSERT_OK(job);
  EXPECT_EQ(job->state(), v1::CANCELLED);
}

TEST_F(JobSchedulerRecoveryTest, StopWorkersWaitsForTheLastProcess) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  ASSERT_EQ(fake_launcher_.num_alive(), 2);
  scheduler_->Start();
  scheduler_->StopWorkers(absl::Hours(1));
  EXPECT_EQ(fake_launcher_.num_alive(), 0);
  scheduler_->Stop();
  EXPECT_FALSE(scheduler_->any_alive());
  EXPECT_EQ(Stored(result.job.id()).state(), v1::RECOVERING);
  EXPECT_EQ(Stored(result.job.id()).reason(), v1::COORDINATOR_RESTART);
}

}  // namespace
}  // namespace sotto::scheduler
