// Kills of real workers and coordinators at moments that the service does not choose. Whatever is
// killed, the job ends, nothing that ran was unpaid, and nothing is left over.
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <poll.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/leftovers.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Property;

constexpr int kWorkers = 2;

class CrashTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
    RegisterTinyDataset();
  }

  std::string Submit(const TinyJobOptions& options = {}) {
    const absl::StatusOr<v1::Job> job = client().Submit(TinyJob(options));
    EXPECT_OK(job);
    return job.ok() ? job->id() : "";
  }

  void RestartCoordinator() {
    const std::string before = address();
    coordinator_->Kill();
    StartCoordinator();
    EXPECT_EQ(address(), before) << "workers and watchers would not find it";
  }

  // To be called when nothing more will be killed.
  v1::Job ExpectGoodEnd(const std::string& job, EventLog& one, EventLog& other) {
    ExpectSameDenseEvents(one.Finish(), other.Finish());
    const v1::Job ended = ExpectSoundEnd(job, v1::SUCCEEDED);
    EXPECT_THAT(ended.reason(), AnyOf(Eq(v1::STEPS_DONE), Eq(v1::BUDGET)));
    return ended;
  }
};

TEST_F(CrashTest, OneWorkerIsKilledMidStep) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(15));
  WaitUpTo(absl::Milliseconds(50));
  ASSERT_TRUE(KillWorker(job, 1));
  const v1::Job ended = ExpectGoodEnd(job, one, other);
  EXPECT_EQ(ended.restarts(), 1);
  EXPECT_EQ(ended.attempt(), 2);
}

TEST_F(CrashTest, AllWorkersAreKilled) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(15));
  WaitUpTo(absl::Milliseconds(50));
  KillAllWorkers(job, kWorkers);
  EXPECT_EQ(ExpectGoodEnd(job, one, other).restarts(), 1);
}

TEST_F(CrashTest, WorkersGoOnWhenTheCoordinatorIsKilled) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(10));
  const pid_t worker = FindWorker(state_dir_, job, 0);
  WaitUpTo(absl::Milliseconds(50));
  RestartCoordinator();
  ASSERT_TRUE(one.AwaitStep(60));
  EXPECT_EQ(FindWorker(state_dir_, job, 0), worker);
  const v1::Job ended = ExpectGoodEnd(job, one, other);
  EXPECT_EQ(ended.attempt(), 1);
  EXPECT_EQ(ended.restarts(), 0);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
}

TEST_F(CrashTest, EverythingIsKilled) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(15));
  WaitUpTo(absl::Milliseconds(50));
  coordinator_->Kill();
  KillAllWorkers(job, kWorkers);
  StartCoordinator();
  EXPECT_EQ(ExpectGoodEnd(job, one, other).attempt(), 2);
}

TEST_F(CrashTest, WorkersAreKilledInTheMiddleOfACheckpoint) {
  TinyJobOptions options;
  options.checkpoint_every = 20;
  const std::string job = Submit(options);
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(25)) << "the first checkpoint is complete";
  const std::string checkpoints = absl::StrCat(state_dir_, "/jobs/", job, "/checkpoints");
  const UniqueFd watch(inotify_init1(IN_CLOEXEC));
  ASSERT_GE(inotify_add_watch(watch.get(), checkpoints.c_str(), IN_CREATE), 0) << checkpoints;
  pollfd state{watch.get(), POLLIN, 0};
  ASSERT_EQ(poll(&state, 1, 60000), 1) << "no checkpoint began";
  WaitUpTo(absl::Milliseconds(3));
  KillAllWorkers(job, kWorkers);
  EXPECT_GE(ExpectGoodEnd(job, one, other).attempt(), 2);
}

TEST_F(CrashTest, SeveralKillsOfAnyKindInARow) {
  TinyJobOptions options;
  options.steps = 600;
  const std::string job = Submit(options);
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(12));
  for (int round = 0; round < 3; ++round) {
    WaitUpTo(absl::Seconds(1));
    switch (std::uniform_int_distribution<int>(0, 2)(random_)) {
      case 0:
        KillWorker(job, std::uniform_int_distribution<int>(0, kWorkers - 1)(random_));
        break;
      case 1:
        RestartCoordinator();
        break;
      default:
        KillAllWorkers(job, kWorkers);
    }
  }
  ExpectGoodEnd(job, one, other);
}

TEST_F(CrashTest, ReservationWithoutReserveEndsEarlyForBudget) {
  TinyJobOptions options;
  options.crash_reserve = 0;
  const std::string job = Submit(options);
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(15));
  KillAllWorkers(job, kWorkers);
  const v1::Job ended = ExpectGoodEnd(job, one, other);
  EXPECT_EQ(ended.reason(), v1::BUDGET);
  EXPECT_LT(ended.completed_steps(), options.steps);
  EXPECT_GT(ended.completed_steps(), 0);
}

TEST_F(CrashTest, CorruptedCheckpointFallsBackToTheOneBefore) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.Await([](const v1::JobEvent& event) { return event.checkpoint().step() >= 40; }));
  coordinator_->Kill();
  for (int rank = 0; rank < kWorkers; ++rank) {
    const pid_t worker = FindWorker(state_dir_, job, rank);
    KillWorker(job, rank);
    ASSERT_TRUE(AwaitEnd(worker));
  }
  // The newest of the folder may be one that the coordinator did not live to hear of.
  const std::string checkpoints = absl::StrCat(state_dir_, "/jobs/", job, "/checkpoints");
  const std::vector<checkpoint::CheckpointName> complete = checkpoint::ListCheckpoints(checkpoints);
  ASSERT_GE(complete.size(), 2u);
  const std::string newest =
      absl::StrCat(checkpoints, "/", checkpoint::DirectoryName(complete.front()));
  for (const auto& file : std::filesystem::directory_iterator(newest)) {
    if (file.path().extension() == ".safetensors") {
      std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekp(-5, std::ios::end);
      bytes.put('\x7f');
      bytes.put('\x01');
    }
  }
  StartCoordinator();
  const std::vector<v1::JobEvent> events = one.Finish();
  EXPECT_THAT(events, Contains(Property(&v1::JobEvent::note, HasSubstr("checkpoint"))));
  ExpectGoodEnd(job, one, other);
}

TEST_F(CrashTest, DrainLeavesWorkersRunningForTheNextCoordinator) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(10));
  const std::optional<ProcessEnd> end = coordinator_->Terminate();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 0);
  EXPECT_GT(FindWorker(state_dir_, job, 0), 0);
  StartCoordinator();
  const v1::Job ended = ExpectGoodEnd(job, one, other);
  EXPECT_EQ(ended.attempt(), 1);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
}

TEST_F(CrashTest, StopOnExitEndsWorkersAndTheNextCoordinatorResumesFromTheirCheckpoint) {
  coordinator_->Terminate();
  StartCoordinator({"--on_exit=stop"});
  TinyJobOptions options;
  options.crash_reserve = 0;
  const std::string job = Submit(options);
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(10));
  const std::optional<ProcessEnd> end = coordinator_->Terminate();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 0);
  EXPECT_EQ(FindWorker(state_dir_, job, 0), -1);
  StartCoordinator();
  const v1::Job ended = ExpectGoodEnd(job, one, other);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE) << "a clean stop costs nothing";
  EXPECT_EQ(ended.completed_steps(), options.steps);
}

TEST_F(CrashTest, CancelledJobKeepsItsCheckpointAndReturnsWhatNeverStarted) {
  const std::string job = Submit();
  EventLog one(address(), job);
  EventLog other(address(), job);
  ASSERT_TRUE(one.AwaitStep(10));
  ASSERT_OK(client().Cancel(job));
  ExpectSameDenseEvents(one.Finish(), other.Finish());
  const v1::Job ended = ExpectSoundEnd(job, v1::CANCELLED);
  EXPECT_GT(ended.checkpoint_step(), 0);
}

}  // namespace
}  // namespace sotto::integration
