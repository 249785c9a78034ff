// Pause and resume: every transition, and what may happen in between.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/job_machine.h"
#include "server/scheduler/testing/machine_world.h"

namespace sotto::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = launcher::WorkerExit::Kind;

int CountStops(const MachineWorld& world) {
  return world.CountSent([](const auto& message) {
    return message.has_stop() && message.stop().mode() == v1::Stop::CHECKPOINT;
  });
}

v1::JobPlan PlanOf(MachineWorld& world, int world_size) {
  v1::JobPlan plan = world->job().plan();
  plan.mutable_sharding()->set_world_size(world_size);
  return plan;
}

absl::Status Resume(MachineWorld& world, int world_size) {
  const absl::Status status =
      world->Resume(PlanOf(world, world_size), world->job().history_size(), world.now);
  world.Settle();
  return status;
}

// Running, with steps 0 to 9 granted and step 0 reported, and asked to pause.
MachineWorld Pausing(int world_size = 2) {
  MachineWorld world(world_size);
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  EXPECT_OK(world->Pause(world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::PAUSING);
  return world;
}

MachineWorld Paused(int world_size = 2) {
  MachineWorld world = Pausing(world_size);
  for (int rank = 0; rank < world_size; ++rank) {
    world.Finish(rank, v1::Finished::STOPPED, 3 + rank);
    world.Exit(rank, Kind::kExited, 0);
  }
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  return world;
}

TEST(JobMachinePauseTest, QueuedIsPausedAtOnceAndGoesBackToTheQueue) {
  MachineWorld world;
  ASSERT_OK(world->Pause(world.now));
  ASSERT_OK(world->Pause(world.now)) << "idempotent";
  world.Settle();
  EXPECT_THAT(world.States(), ElementsAre(v1::PAUSED));
  EXPECT_FALSE(world->HoldsSlots());
  EXPECT_FALSE(world.persisted.back().settle);
  ASSERT_OK(Resume(world, 2));
  EXPECT_THAT(world.States(), ElementsAre(v1::PAUSED, v1::QUEUED));
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachinePauseTest, RunningStopsInOrderFreesSlotsAndReturnsWhatNeverStarted) {
  MachineWorld world = Pausing();
  ASSERT_OK(world->Pause(world.now)) << "idempotent";
  world.Settle();
  EXPECT_EQ(CountStops(world), 2);
  EXPECT_TRUE(world->HoldsSlots());
  world.AskForGrant(10);
  EXPECT_EQ(world.reservation, 990) << "nothing more is granted";
  world.Finish(0, v1::Finished::STOPPED, 3);
  world.Finish(1, v1::Finished::STOPPED, 4);
  for (int rank : {0, 1}) world.Exit(rank, Kind::kExited, 0);
  EXPECT_THAT(world.States(), ElementsAre(v1::STARTING, v1::RUNNING, v1::PAUSING, v1::PAUSED));
  EXPECT_EQ(world->job().reason(), v1::USER_REQUEST);
  EXPECT_EQ(world->job().completed_steps(), 4);
  EXPECT_EQ(world.persisted.back().return_from, 4);
  EXPECT_TRUE(world.persisted.back().forget_processes);
  EXPECT_FALSE(world.persisted.back().settle) << "the reservation stays the job's";
  EXPECT_FALSE(world->HoldsSlots());
  EXPECT_THAT(world.killed, IsEmpty());
  EXPECT_EQ(world->NextDeadline(), absl::InfiniteFuture());
  world.Pass(absl::Hours(100));
  EXPECT_EQ(world.attempts, 1) << "it waits for its user";
}

TEST(JobMachinePauseTest, StartingRanksHaveNothingToSave) {
  MachineWorld world;
  world->GiveSlots(world.now);
  world.Settle();
  ASSERT_OK(world->Pause(world.now));
  world.Settle();
  EXPECT_THAT(world.killed, ElementsAre(0, 1));
  EXPECT_EQ(CountStops(world), 0);
  EXPECT_EQ(world->job().state(), v1::PAUSING);
  for (int rank : {0, 1}) world.Exit(rank);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world->job().restarts(), 0);
  EXPECT_EQ(world->job().message(), "");
}

TEST(JobMachinePauseTest, BackoffIsOverAtOnceAndItsLossCountsOnce) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  world.Exit(0);
  ASSERT_EQ(world->job().state(), v1::RECOVERING);
  ASSERT_OK(world->Pause(world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world->job().restarts(), 1);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1);
}

TEST(JobMachinePauseTest, RecoveringWaitsForTheRestOfItsRanks) {
  MachineWorld world;
  world.Run();
  world.Exit(1);
  ASSERT_OK(world->Pause(world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::PAUSING);
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
}

TEST(JobMachinePauseTest, ARankLostWhilePausingLeavesTheNewestCheckpoint) {
  MachineWorld world = Pausing();
  world.Exit(1);
  EXPECT_EQ(world->job().state(), v1::PAUSING);
  EXPECT_THAT(world.killed, ElementsAre(0)) << "it would wait for the other";
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_THAT(world->job().message(), HasSubstr("newest checkpoint"));
  EXPECT_EQ(world->job().restarts(), 1);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt) << "nobody knows what was started";
  ASSERT_OK(Resume(world, 2));
  world.Run();
  EXPECT_EQ(world->job().attempt(), 2);
}

TEST(JobMachinePauseTest, RanksThatDoNotStopAreKilled) {
  MachineWorld world = Pausing(1);
  world.Pass(Policy().stop_grace);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
}

TEST(JobMachinePauseTest, RanksThatAreHeardOfMayFinishALongStep) {
  MachineWorld world = Pausing(1);
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  for (int minute = 0; minute < 5; ++minute) {
    world.Say(0, heartbeat);
    world.Pass(Policy().stop_grace / 2);
    world.Say(0, heartbeat);
    world.Pass(Policy().stop_grace / 2);
  }
  EXPECT_THAT(world.killed, IsEmpty());
  world.Finish(0, v1::Finished::STOPPED, 3);
  world.Exit(0, Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world->job().restarts(), 0);
}

TEST(JobMachinePauseTest, ARankThatFailsWhilePausingIsQuoted) {
  MachineWorld world = Pausing(1);
  v1::WorkerMessage failed;
  failed.mutable_finished()->set_outcome(v1::Finished::FAILED);
  failed.mutable_finished()->set_message("no space left");
  world.Say(0, failed);
  world.Exit(0, Kind::kExited, 1);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_THAT(world->job().message(), HasSubstr("rank 0: no space left"));
}

TEST(JobMachinePauseTest, AJobThatWasDoneBeforeTheStopArrivedEnds) {
  MachineWorld world = Pausing(1);
  world.Finish(0, v1::Finished::DONE, 100);
  world.Exit(0, Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().reason(), v1::STEPS_DONE);
  EXPECT_TRUE(world.persisted.back().settle);
}

TEST(JobMachinePauseTest, PausingAndPausedCanBeCancelled) {
  MachineWorld pausing = Pausing(1);
  ASSERT_OK(pausing->Cancel(pausing.now));
  pausing.Settle();
  EXPECT_EQ(pausing->job().state(), v1::CANCELLING);
  EXPECT_EQ(CountStops(pausing), 1) << "it is stopping already";
  EXPECT_THAT(pausing->Pause(pausing.now),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("being cancelled")));
  pausing.Finish(0, v1::Finished::STOPPED, 3);
  pausing.Exit(0, Kind::kExited, 0);
  EXPECT_EQ(pausing->job().state(), v1::CANCELLED);
  EXPECT_EQ(pausing.persisted.back().return_from, 3);
  EXPECT_TRUE(pausing.persisted.back().settle);

  MachineWorld paused = Paused();
  ASSERT_OK(paused->Cancel(paused.now));
  paused.Settle();
  EXPECT_EQ(paused->job().state(), v1::CANCELLED);
  EXPECT_TRUE(paused.persisted.back().settle);
  EXPECT_EQ(paused.persisted.back().return_from, std::nullopt) << "returned when it paused";
  EXPECT_THAT(paused->Pause(paused.now),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("CANCELLED")));
}

TEST(JobMachinePauseTest, JobsThatDoNotTrainAreRefused) {
  v1::Job job = QueuedJob(1);
  job.mutable_plan()->mutable_inference();
  MachineWorld world(job);
  EXPECT_THAT(world->Pause(world.now),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("does not train")));
  world.Run();
  EXPECT_THAT(world->Pause(world.now),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("does not train")));
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachinePauseTest, AResumedJobRunsItsNextAttemptByTheNewPlan) {
  MachineWorld world = Paused();
  v1::JobPlan plan = PlanOf(world, 3);
  plan.mutable_sharding()->set_strategy(v1::NO_SHARD);
  ASSERT_OK(world->Resume(plan, world->job().history_size(), world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::QUEUED);
  EXPECT_TRUE(world.persisted.back().new_plan);
  EXPECT_EQ(world.persisted.back().job.plan().sharding().world_size(), 3);
  EXPECT_THAT(world.events.back().state().message(),
              HasSubstr("from 2 workers, STRATEGY_UNSPECIFIED to 3 workers, NO_SHARD"));
  world.sent.clear();
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  EXPECT_EQ(world->job().attempt(), 2);
  EXPECT_EQ(world.CountSent([](const auto& message) {
    return message.welcome().plan().sharding().world_size() == 3;
  }),
            3);
  world.AskForGrant(4);
  world.Report(4);
  EXPECT_EQ(world->job().completed_steps(), 5);
  world.Attach(0, 2, /*attempt=*/1, kProtocol, "hash1", 900);
  EXPECT_TRUE(absl::IsAborted(world.closed.back().status)) << "a straggler of before the pause";
}

TEST(JobMachinePauseTest, ResumeIsRefusedUnlessTheJobIsPausedAsItWasSeen) {
  MachineWorld world = Pausing(1);
  EXPECT_THAT(Resume(world, 1),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("it is PAUSING")));
  world.Finish(0, v1::Finished::STOPPED, 3);
  world.Exit(0, Kind::kExited, 0);
  const int seen = world->job().history_size();
  EXPECT_THAT(world->Resume(PlanOf(world, 1), seen - 1, world.now),
              StatusIs(absl::StatusCode::kAborted));
  v1::JobPlan cheaper = PlanOf(world, 1);
  cheaper.mutable_privacy()->set_noise_multiplier(0.1);
  EXPECT_THAT(world->Resume(cheaper, seen, world.now), StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world->job().plan().privacy().noise_multiplier(), 0);
  ASSERT_OK(Resume(world, 1));
  EXPECT_THAT(Resume(world, 1),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("it is QUEUED")));
}

v1::Job LiveJob(v1::JobState state) {
  v1::Job job = QueuedJob(1);
  job.set_state(state);
  job.set_reason(v1::USER_REQUEST);
  job.set_attempt(4);
  return job;
}

TEST(JobMachinePauseTest, ARestoredPauseGoesOn) {
  MachineWorld world(LiveJob(v1::PAUSING));
  world->Restore("hash", {}, {{20, 30}}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  world.Attach(0, 25);
  EXPECT_EQ(world.sent.back().message.stop().mode(), v1::Stop::CHECKPOINT);
  world.Finish(0, v1::Finished::STOPPED, 26);
  world.Exit(0, Kind::kVanished, 0);
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world.persisted.back().return_from, 26);
}

TEST(JobMachinePauseTest, ARestoredPauseWhoseRanksAreGoneIsOver) {
  MachineWorld world(LiveJob(v1::PAUSING));
  world->Restore("hash", {}, {}, {}, world.now);
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::PAUSED);
}

TEST(JobMachinePauseTest, ARestoredPausedJobWaitsAndItsAttemptsGoOn) {
  MachineWorld world(LiveJob(v1::PAUSED));
  world->Restore("hash", {}, {{20, 30}}, {}, world.now);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world->job().state(), v1::PAUSED);
  EXPECT_EQ(world.attempts, 0);
  ASSERT_OK(Resume(world, 2));
  world.Run();
  EXPECT_EQ(world->job().attempt(), 5);
  world.AskForGrant(25);
  EXPECT_EQ(world->attempt().granted_end(), 35);
}

}  // namespace
}  // namespace sotto::scheduler
