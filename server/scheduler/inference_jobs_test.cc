// Jobs that do not train: no account, no grants, an end of their own.
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

class InferenceJobsTest : public SchedulerFixture {
 protected:
  static v1::JobPlan MakeInferencePlan(int world_size = 2) {
    v1::JobPlan plan;
    plan.set_protocol_version(1);
    plan.mutable_spec()->set_name("words");
    plan.mutable_privacy()->set_not_private(true);
    plan.mutable_sharding()->set_world_size(world_size);
    plan.mutable_inference()->set_prompts(12);
    return plan;
  }

  std::string Start() {
    const absl::StatusOr<AdmitResult> result = Admit(MakeInferencePlan());
    EXPECT_OK(result);
    return result.ok() ? result->job.id() : "";
  }

  void Finish(const FakeRank& rank, v1::Finished::Outcome outcome,
              v1::StateReason reason = v1::STATE_REASON_UNSPECIFIED) {
    v1::WorkerMessage message;
    message.mutable_finished()->set_outcome(outcome);
    message.mutable_finished()->set_reason(reason);
    message.mutable_finished()->set_message("why");
    scheduler_->Receive(rank.stream, message);
    Pump();
  }

  void ExpectNoTraceInTheLedger() {
    const auto page = Read<ledger::EntryPage>(
        [&](auto& transaction) { return ledger_.ListEntries(transaction, "", 0, 100); });
    EXPECT_THAT(page.entries, SizeIs(1)) << "the dataset's registration alone";
    ExpectLedgerIsSound();
  }
};

TEST_F(InferenceJobsTest, RunToTheirEndWithoutACharge) {
  const std::string job = Start();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  EXPECT_EQ(Stored(job).state(), v1::RUNNING);
  EXPECT_EQ(ranks[0].channel->messages[0].welcome().secret(), "");
  FinishAll(job, ranks, 12);
  const v1::Job ended = Stored(job);
  EXPECT_EQ(ended.state(), v1::SUCCEEDED);
  EXPECT_EQ(ended.reason(), v1::INFERENCE_DONE);
  EXPECT_EQ(ended.completed_steps(), 12);
  EXPECT_EQ(ended.epsilon(), 0);
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 0);
  ExpectNoTraceInTheLedger();
}

TEST_F(InferenceJobsTest, WriteNoOutputOfAnotherThatLives) {
  v1::JobPlan plan = MakeInferencePlan();
  plan.mutable_spec()->mutable_inference()->set_output("/out");
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(plan, "once"));
  EXPECT_THAT(Admit(plan), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    HasSubstr(first.job.id() + " is to write /out")));
  ASSERT_OK_AND_ASSIGN(const AdmitResult again, Admit(plan, "once"));
  EXPECT_TRUE(again.existing);
  v1::JobPlan other = plan;
  other.mutable_spec()->mutable_inference()->set_output("/other");
  EXPECT_OK(Admit(other));
  const std::vector<FakeRank> ranks = {Attach(first.job.id(), 0), Attach(first.job.id(), 1)};
  FinishAll(first.job.id(), ranks, 12);
  EXPECT_OK(Admit(plan)) << "the first has ended";
}

TEST_F(InferenceJobsTest, ThatExistAreRepeatedButNoNewOneIsAdmitted) {
  const v1::JobPlan plan = MakeInferencePlan();
  const absl::Status exists = absl::InvalidArgumentError("the output exists");
  ASSERT_OK(Admit(plan, "once"));
  ASSERT_OK_AND_ASSIGN(const AdmitResult again, Admit(plan, "once", exists));
  EXPECT_TRUE(again.existing);
  EXPECT_THAT(Admit(plan, "twice", exists), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(InferenceJobsTest, AreGrantedNoStepAndMayReportNone) {
  const std::string job = Start();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  EXPECT_THAT(ranks[0].channel->messages, SizeIs(1)) << "the welcome alone";
  Report(ranks[0], job, 0, 1);
  Pump();
  EXPECT_EQ(Stored(job).state(), v1::FAILED);
  EXPECT_THAT(Stored(job).message(), HasSubstr("reported but not granted"));
  ExpectNoTraceInTheLedger();
}

TEST_F(InferenceJobsTest, ALostRankCostsAnAttempt) {
  const std::string job = Start();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  fake_launcher_.Exit(job, 1, 1, launcher::WorkerExit::Kind::kSignalled, 9);
  Pump();
  EXPECT_EQ(Stored(job).state(), v1::RECOVERING);
  clock_.Advance(absl::Minutes(1));
  Pump();
  EXPECT_EQ(LaunchOf(job).attempt, 2);
  ranks = {Attach(job, 0), Attach(job, 1)};
  FinishAll(job, ranks, 12);
  EXPECT_EQ(Stored(job).reason(), v1::INFERENCE_DONE);
  ExpectNoTraceInTheLedger();
}

TEST_F(InferenceJobsTest, WhatDoesNotFitIsNotTriedAgain) {
  const std::string job = Start();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Finish(ranks[1], v1::Finished::FAILED, v1::PLAN_CANNOT_RUN);
  EXPECT_EQ(Stored(job).state(), v1::FAILED);
  EXPECT_EQ(Stored(job).reason(), v1::PLAN_CANNOT_RUN);
  EXPECT_EQ(Stored(job).message(), "rank 1: why");
  EXPECT_EQ(Stored(job).attempt(), 1);
}

TEST_F(InferenceJobsTest, GoOnUnderTheNextCoordinator) {
  const std::string job = Start();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
  ranks = {Attach(job, 0), Attach(job, 1)};
  FinishAll(job, ranks, 12);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(job).attempt(), 1);
  ExpectNoTraceInTheLedger();
}

TEST_F(InferenceJobsTest, CancelledOnesStopAndEnd) {
  const std::string job = Start();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  ASSERT_OK_AND_ASSIGN(const v1::Job cancelling, Cancel(job));
  EXPECT_EQ(cancelling.state(), v1::CANCELLING);
  EXPECT_TRUE(ranks[1].channel->messages.back().has_stop());
  for (int rank : {0, 1}) {
    Finish(ranks[rank], v1::Finished::STOPPED);
    fake_launcher_.Exit(job, 1, rank, launcher::WorkerExit::Kind::kExited, 0);
  }
  Pump();
  EXPECT_EQ(Stored(job).state(), v1::CANCELLED);
  ExpectNoTraceInTheLedger();
}

// A rank that is refused stops by itself: nobody told it to.
TEST_F(InferenceJobsTest, RanksThatStopUnaskedAreALostAttempt) {
  const std::string job = Start();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  KillScheduler();
  StartScheduler();
  ranks = {Attach(job, 0), Attach(job, 1)};
  for (int rank : {0, 1}) {
    Finish(ranks[rank], v1::Finished::STOPPED);
    fake_launcher_.Exit(job, 1, rank, launcher::WorkerExit::Kind::kExited, 0);
  }
  Pump();
  EXPECT_EQ(Stored(job).state(), v1::RECOVERING);
}

TEST_F(InferenceJobsTest, LogsMayBeShownToAStewardWithoutAnAccount) {
  const std::string job = Start();
  absl::Status recorded = absl::UnknownError("no answer");
  scheduler_->RecordStewardView(job, "logs", [&](absl::Status status) { recorded = status; });
  Pump();
  EXPECT_OK(recorded);
  EXPECT_TRUE(Stored(job).steward_viewed());
  ExpectNoTraceInTheLedger();
}

}  // namespace
}  // namespace sotto::scheduler
