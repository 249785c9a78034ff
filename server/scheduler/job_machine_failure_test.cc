#include "server/scheduler/job_machine.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/testing/machine_world.h"

namespace sotto::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outcome = launcher::ExitRecord::Outcome;

TEST(JobMachineTest, LostWorkerTakesTheAttemptDownAndTheNextStartsAfterBackoff) {
  MachineWorld world;
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  world.Exit(1);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::WORKER_LOST);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1) << "rank 0 is still there";
  world.Exit(0);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt) << "not a clean stop";
  EXPECT_FALSE(world.persisted.back().settle);
  EXPECT_EQ(world.attempts, 1);
  world.Pass(world->NextDeadline() - world.now);
  EXPECT_EQ(world.attempts, 2);
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  EXPECT_EQ(world->job().restarts(), 1);
  EXPECT_EQ(world->job().attempt(), 2);
}

TEST(JobMachineTest, RestartsHaveALimit) {
  Policy policy;
  policy.max_restarts = 2;
  MachineWorld world(1, policy);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    world.Run();
    world.Exit(0);
    if (attempt < 3) world.Pass(absl::Minutes(2));
  }
  EXPECT_EQ(world.attempts, 3);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::RESTARTS_EXHAUSTED);
  EXPECT_TRUE(world.persisted.back().settle);
}

TEST(JobMachineTest, WhatARestartCannotMendIsNotTriedAgain) {
  for (const v1::StateReason reason : {v1::INVALID_DATA, v1::INVALID_CHECKPOINT,
                                       v1::PROTOCOL_MISMATCH, v1::PLAN_CANNOT_RUN, v1::INTERNAL}) {
    MachineWorld world;
    world.Run();
    world.Finish(1, v1::Finished::FAILED, 0, reason);
    EXPECT_THAT(world.killed, ElementsAre(0, 1));
    for (int rank : {0, 1}) world.Exit(rank);
    EXPECT_EQ(world->job().state(), v1::FAILED);
    EXPECT_EQ(world->job().reason(), reason);
    EXPECT_EQ(world.attempts, 1);
  }
}

TEST(JobMachineTest, RankThatNeverAttachesIsATimeout) {
  MachineWorld world;
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1);
  world.Pass(world->NextDeadline() - world.now);
  world.Pass(Policy().start_timeout);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
}

TEST(JobMachineTest, LostStreamHasAGracePeriod) {
  MachineWorld world;
  world.Run();
  world->OnDetached(world.StreamOf(1), world.now);
  world.Pass(Policy().reattach_grace - absl::Milliseconds(1));
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  world.Pass(absl::Milliseconds(1));
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::WORKER_LOST);
}

TEST(JobMachineTest, RankThatComesBackGetsItsGrantsAgain) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  for (int64_t step = 0; step < 6; ++step) world.Report(step);
  world.AskForGrant(10);
  world->OnDetached(world.StreamOf(0), world.now);
  world.sent.clear();
  world.Attach(0, /*next_step=*/12);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_TRUE(world.sent[0].message.has_welcome());
  EXPECT_EQ(world.sent[1].message.grant().first_step(), 10);
  EXPECT_EQ(world.reservation, 980);
}

TEST(JobMachineTest, SecondStreamOfARankReplacesTheFirst) {
  MachineWorld world(1);
  world.Run();
  world.Attach(0, 0, 0, kProtocol, "", /*stream=*/999);
  ASSERT_THAT(world.closed, SizeIs(1));
  EXPECT_EQ(world.closed[0].stream, world.StreamOf(0));
  world->OnDetached(world.StreamOf(0), world.now);
  EXPECT_EQ(world->attempt().ranks[0].stream, 999);
}

TEST(JobMachineTest, StrangersAreRefused) {
  MachineWorld world;
  world.Run();
  world.Attach(0, -1, 0, kProtocol, "wrong token", 900);
  world.Attach(0, -1, /*attempt=*/9, kProtocol, "", 901);
  world.Attach(7, -1, 0, kProtocol, "", 902);
  ASSERT_THAT(world.closed, SizeIs(3));
  EXPECT_TRUE(absl::IsUnauthenticated(world.closed[0].status));
  EXPECT_TRUE(absl::IsAborted(world.closed[1].status));
  EXPECT_TRUE(absl::IsUnauthenticated(world.closed[2].status));
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachineTest, OlderAttemptIsRefusedAfterARestart) {
  MachineWorld world(1);
  world.Run();
  world.Exit(0);
  world.Pass(absl::Minutes(1));
  world.Attach(0, 5, /*attempt=*/1, kProtocol, "hash1", 900);
  ASSERT_FALSE(world.closed.empty());
  EXPECT_TRUE(absl::IsAborted(world.closed.back().status));
}

TEST(JobMachineTest, OtherProtocolVersionFailsTheJob) {
  MachineWorld world(1);
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1, 0, kProtocol + 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(world.closed[0].status));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::PROTOCOL_MISMATCH);
}

TEST(JobMachineTest, CancelledWhileQueuedEndsAtOnce) {
  MachineWorld world;
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  EXPECT_THAT(world.States(), ElementsAre(v1::CANCELLED));
  EXPECT_TRUE(world.persisted.back().settle);
  EXPECT_THAT(world->Cancel(world.now), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(JobMachineTest, CancelledWhileRunningStopsInOrderAndReturnsWhatNeverStarted) {
  MachineWorld world;
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  ASSERT_OK(world->Cancel(world.now));
  ASSERT_OK(world->Cancel(world.now)) << "idempotent";
  world.Settle();
  EXPECT_EQ(world.CountSent([](const auto& message) {
    return message.has_stop() && message.stop().mode() == v1::Stop::CHECKPOINT;
  }),
            2);
  world.Finish(0, v1::Finished::STOPPED, 3);
  world.Finish(1, v1::Finished::STOPPED, 4);
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, 4);
  EXPECT_THAT(world.killed, IsEmpty());
}

TEST(JobMachineTest, CancelledWorkerThatDoesNotStopIsKilled) {
  MachineWorld world(1);
  world.Run();
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  world.Pass(Policy().stop_grace);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt);
}

TEST(JobMachineTest, CancelledDuringBackoffEndsAtOnce) {
  MachineWorld world(1);
  world.Run();
  world.Exit(0);
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1);
}

TEST(JobMachineTest, StopForShutdownLeavesTheJobToTheNextCoordinator) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  world->StopForShutdown(world.now);
  world.Settle();
  world.Finish(0, v1::Finished::STOPPED, 2);
  world.Exit(0, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().restarts(), 0) << "not a failure";
  EXPECT_EQ(world.persisted.back().return_from, 2);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1);
}

v1::Job LiveJob(v1::JobState state, v1::StateReason reason) {
  v1::Job job = QueuedJob(1);
  job.set_state(state);
  job.set_reason(reason);
  job.set_attempt(4);
  return job;
}

TEST(JobMachineRestoreTest, RunningWorkersMayComeBack) {
  MachineWorld world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", {{40}, 0}, {{20, 30}}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  world.Attach(0, 25);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_EQ(world.sent[0].message.welcome().secret(), "") << "nobody has it but the workers";
  EXPECT_EQ(world.sent[1].message.grant().end_step(), 30);
  world.AskForGrant(30);
  EXPECT_EQ(world.reservation, 990);
  world.Report(25);
  EXPECT_EQ(world.events.back().step().epsilon(), 0.5 * (40 + 6));
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachineRestoreTest, WorkersThatDoNotComeBackAreFencedAndKilled) {
  MachineWorld world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", {}, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::COORDINATOR_RESTART);
  EXPECT_EQ(world->job().restarts(), 0);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Attach(0, 25, 4, kProtocol, "hash", 900);
  EXPECT_TRUE(absl::IsAborted(world.closed.back().status));
  world.Exit(0);
  world.Pass(absl::ZeroDuration());
  EXPECT_EQ(world->job().attempt(), 5);
}

TEST(JobMachineRestoreTest, WorkerThatFinishedMeanwhileCounts) {
  MachineWorld world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", {}, {{90, 100}}, {{0, 123, 1, "boot"}}, world.now);
  world->OnExit({"job-1", 4, 0, launcher::WorkerExit::Kind::kVanished, 0,
                 launcher::ExitRecord{Outcome::kDone, 0, "", 100, 100}},
                world.now);
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().completed_steps(), 100);
}

TEST(JobMachineRestoreTest, WorkersThatWereToldToFinishBeforeAreABudgetEnd) {
  MachineWorld world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", {}, {{20, 30}}, {{0, 123, 1, "boot"}}, world.now);
  world.Attach(0, 30);
  world.Finish(0, v1::Finished::STOPPED, 30);
  world.Exit(0, launcher::WorkerExit::Kind::kVanished, 0);
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().reason(), v1::BUDGET);
}

TEST(JobMachineRestoreTest, AttemptThatWasOnlyStartingIsGivenUp) {
  MachineWorld world(LiveJob(v1::STARTING, v1::SLOTS_GRANTED));
  world->Restore("hash", {}, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_THAT(world.killed, ElementsAre(0));
}

TEST(JobMachineRestoreTest, CancellationGoesOn) {
  MachineWorld world(LiveJob(v1::CANCELLING, v1::USER_REQUEST));
  world->Restore("hash", {}, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  world.Attach(0, 5);
  EXPECT_EQ(world.sent.back().message.stop().mode(), v1::Stop::CHECKPOINT);
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
}

}  // namespace
}  // namespace sotto::scheduler
