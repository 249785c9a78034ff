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
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(JobMachineTest, RunsFromQueueToSuccess) {
  MachineWorld world;
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  int64_t step = 0;
  world.AskForGrant(0);
  for (int64_t end = 10; end <= 100; end += 10) {
    for (; step < end - 5; ++step) world.Report(step);
    if (end < 100) world.AskForGrant(end);
    for (; step < end; ++step) world.Report(step);
  }
  for (int rank : {0, 1}) world.Finish(rank, v1::Finished::DONE, 100);
  EXPECT_EQ(world->job().state(), v1::RUNNING) << "a process is still there";
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_THAT(world.States(), ElementsAre(v1::STARTING, v1::RUNNING, v1::SUCCEEDED));
  EXPECT_EQ(world->job().reason(), v1::STEPS_DONE);
  EXPECT_EQ(world->job().completed_steps(), 100);
  EXPECT_EQ(world.reservation, 900);
  EXPECT_TRUE(world.persisted.back().settle);
  EXPECT_EQ(world.persisted.back().return_from, 100);
  EXPECT_THAT(world.killed, IsEmpty());
}

TEST(JobMachineTest, WelcomeCarriesPlanSecretAndEnd) {
  MachineWorld world(1);
  world.Run();
  ASSERT_THAT(world.sent, SizeIs(1));
  const v1::Welcome& welcome = world.sent[0].message.welcome();
  EXPECT_EQ(welcome.secret(), "secret");
  EXPECT_EQ(welcome.end_step(), 100);
  EXPECT_EQ(welcome.checkpoint_directory(), "/state/jobs/job-1/checkpoints");
  EXPECT_EQ(welcome.plan().protocol_version(), kProtocol);
}

TEST(JobMachineTest, GrantGoesToAllRanksOnceItIsCommitted) {
  MachineWorld world;
  world.Run();
  world.sent.clear();
  world.AskForGrant(0);
  ASSERT_THAT(world.sent, SizeIs(2));
  for (const Send& send : world.sent) {
    EXPECT_EQ(send.message.grant().first_step(), 0);
    EXPECT_EQ(send.message.grant().end_step(), 10);
    EXPECT_EQ(send.message.grant().attempt(), 1);
  }
}

TEST(JobMachineTest, NoGrantBeforeAllRanksAttached) {
  MachineWorld world;
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1);
  world.AskForGrant(0);
  EXPECT_EQ(world.reservation, 1000);
  world.Attach(1, -1);
  EXPECT_EQ(world.reservation, 990);
}

TEST(JobMachineTest, AtMostTwoGrantsAreOutstanding) {
  MachineWorld world;
  world.Run();
  world.AskForGrant(0);
  world.AskForGrant(10);
  world.AskForGrant(20);
  EXPECT_EQ(world.reservation, 980);
  for (int64_t step = 0; step < 9; ++step) world.Report(step);
  EXPECT_EQ(world.reservation, 980);
  world.Report(9);
  EXPECT_EQ(world.reservation, 970) << "the request waited for the first grant to be used up";
}

TEST(JobMachineTest, RepeatedRequestIsAnsweredWithoutCharge) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  world.sent.clear();
  world.AskForGrant(0);
  EXPECT_EQ(world.reservation, 990);
  ASSERT_THAT(world.sent, SizeIs(1));
  EXPECT_EQ(world.sent[0].message.grant().end_step(), 10);
}

TEST(JobMachineTest, ReportsGetEpsilonAndAcknowledgement) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  world.sent.clear();
  world.Report(0);
  world.Report(1);
  EXPECT_EQ(world.events.back().step().epsilon(), 1.0);
  EXPECT_EQ(world->job().epsilon(), 1.0);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_EQ(world.sent[1].message.ack().step(), 1);
}

TEST(JobMachineTest, ReportsSayTheNoiseOfTheirStep) {
  v1::Job job = QueuedJob(1);
  v1::PrivacyPlan& privacy = *job.mutable_plan()->mutable_privacy();
  privacy.add_segments()->set_noise_multiplier(2);
  v1::NoiseSegment& later = *privacy.add_segments();
  later.set_first_step(1);
  later.set_noise_multiplier(0.5);
  MachineWorld world(job);
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  EXPECT_EQ(world.events.back().step().noise_multiplier(), 2);
  world.Report(1);
  EXPECT_EQ(world.events.back().step().noise_multiplier(), 0.5);
}

TEST(JobMachineTest, ReportsThatComeTogetherAreOneTransaction) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  const size_t before = world.persisted.size();
  for (int64_t step = 0; step < 5; ++step) {
    v1::WorkerMessage message;
    message.mutable_report()->set_step(step);
    message.mutable_report()->set_attempt(1);
    world->OnMessage(world.StreamOf(0), message, world.now);
  }
  world.Settle();
  EXPECT_EQ(world.persisted.size(), before + 1);
  EXPECT_EQ(world.sent.back().message.ack().step(), 4);
}

TEST(JobMachineTest, ReportOfAStepThatWasNotGrantedEndsTheJob) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  world.Report(10);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::INTERNAL);
  EXPECT_THAT(world->job().message(), HasSubstr("step 10"));
}

TEST(JobMachineTest, UsedUpReservationIsANormalEnd) {
  MachineWorld world;
  world.reservation = 15;
  world.Run();
  world.AskForGrant(0);
  for (int64_t step = 0; step < 5; ++step) world.Report(step);
  world.AskForGrant(10);
  for (int64_t step = 5; step < 12; ++step) world.Report(step);
  world.AskForGrant(15);
  EXPECT_EQ(world.CountSent([](const auto& message) {
    return message.has_stop() && message.stop().mode() == v1::Stop::FINISH;
  }),
            2);
  for (int64_t step = 12; step < 15; ++step) world.Report(step);
  for (int rank : {0, 1}) world.Finish(rank, v1::Finished::STOPPED, 15);
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().reason(), v1::BUDGET);
  EXPECT_EQ(world->job().completed_steps(), 15);
}

TEST(JobMachineTest, StreamOfAFinishedRankIsClosedAfterItsReportsAreStored) {
  MachineWorld world(1);
  world.Run();
  world.AskForGrant(0);
  v1::WorkerMessage report;
  report.mutable_report()->set_step(0);
  report.mutable_report()->set_attempt(1);
  v1::WorkerMessage finished;
  finished.mutable_finished()->set_outcome(v1::Finished::DONE);
  world->OnMessage(world.StreamOf(0), report, world.now);
  world->OnMessage(world.StreamOf(0), finished, world.now);
  const std::optional<Effect> first = world->TakeEffect();
  ASSERT_TRUE(first.has_value() && std::holds_alternative<Persist>(*first));
  world.Settle();
  ASSERT_THAT(world.closed, SizeIs(1));
  EXPECT_OK(world.closed[0].status);
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RUNNING) << "its process has the stop grace to end";
}

}  // namespace
}  // namespace sotto::scheduler
