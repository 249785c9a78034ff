// Kills of real workers and coordinators at moments that the service does not choose. Whatever is
// killed, the job ends, nothing that ran was unpaid, and nothing is left over.
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <poll.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/checkpoint_reader.h"
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

// Of this step or a later one: complete on disk, not only begun.
std::function<bool(const v1::JobEvent&)> HoldsCheckpoint(int64_t step) {
  return [step](const v1::JobEvent& event) { return event.checkpoint().step() >= step; };
}

void Corrupt(const std::string& directory) {
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    if (file.path().extension() != ".safetensors") continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-5, std::ios::end);
    bytes.put('\x7f');
    bytes.put('\x01');
  }
}

class CrashTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
    RegisterTinyDataset();
  }

  void RestartCoordinator() {
    const std::string before = address();
    coordinator_->Kill();
    StartCoordinator();
    EXPECT_EQ(address(), before) << "workers and watchers would not find it";
  }

  // To be called when nothing more will be killed.
  v1::Job ExpectGoodEnd(WatchedJob& job) {
    ExpectSameDenseEvents(job.one->Finish(), job.other->Finish());
    const v1::Job ended = ExpectSoundEnd(job.id, v1::SUCCEEDED);
    EXPECT_THAT(ended.reason(), AnyOf(Eq(v1::STEPS_DONE), Eq(v1::BUDGET)));
    return ended;
  }
};

TEST_F(CrashTest, OneWorkerIsKilledMidStep) {
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(15));
    WaitUpTo(absl::Milliseconds(50));
    KillWorker(running.id, 1);
  });
  const v1::Job ended = ExpectGoodEnd(job);
  EXPECT_EQ(ended.restarts(), 1);
  EXPECT_EQ(ended.attempt(), 2);
}

TEST_F(CrashTest, AllWorkersAreKilled) {
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(15));
    WaitUpTo(absl::Milliseconds(50));
    KillAllWorkers(running.id, kWorkers);
  });
  EXPECT_EQ(ExpectGoodEnd(job).restarts(), 1);
}

TEST_F(CrashTest, WorkersGoOnWhenTheCoordinatorIsKilled) {
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(10));
    WaitUpTo(absl::Milliseconds(50));
    RestartCoordinator();
  });
  const v1::Job ended = ExpectGoodEnd(job);
  EXPECT_EQ(ended.attempt(), 1) << "the same workers to the end";
  EXPECT_EQ(ended.restarts(), 0);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
}

TEST_F(CrashTest, EverythingIsKilled) {
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(15));
    WaitUpTo(absl::Milliseconds(50));
    coordinator_->Kill();
    KillAllWorkers(running.id, kWorkers);
    StartCoordinator();
  });
  EXPECT_EQ(ExpectGoodEnd(job).attempt(), 2);
}

TEST_F(CrashTest, WorkersAreKilledInTheMiddleOfACheckpoint) {
  TinyJobOptions options;
  options.checkpoint_every = 20;
  bool has_begun = false;
  WatchedJob job = Catch(TinyJob(options), [&](WatchedJob& running) {
    // Its shards were read before the next step could change them: their folder is there.
    ASSERT_TRUE(running.one->AwaitStep(25));
    const std::string checkpoints = absl::StrCat(state_dir_, "/jobs/", running.id, "/checkpoints");
    const UniqueFd watch(inotify_init1(IN_CLOEXEC));
    ASSERT_GE(inotify_add_watch(watch.get(), checkpoints.c_str(), IN_CREATE), 0) << checkpoints;
    pollfd state{watch.get(), POLLIN, 0};
    has_begun = poll(&state, 1, 60000) == 1;
    WaitUpTo(absl::Milliseconds(3));
    KillAllWorkers(running.id, kWorkers);
  });
  EXPECT_TRUE(has_begun) << "no checkpoint began";
  EXPECT_GE(ExpectGoodEnd(job).attempt(), 2);
}

TEST_F(CrashTest, SeveralKillsOfAnyKindInARow) {
  TinyJobOptions options;
  options.steps = 600;
  WatchedJob job = SubmitWatched(TinyJob(options));
  ASSERT_TRUE(job.one->AwaitStep(12));
  for (int round = 0; round < 3; ++round) {
    WaitUpTo(absl::Seconds(1));
    switch (std::uniform_int_distribution<int>(0, 2)(random_)) {
      case 0:
        KillWorker(job.id, std::uniform_int_distribution<int>(0, kWorkers - 1)(random_));
        break;
      case 1:
        RestartCoordinator();
        break;
      default:
        KillAllWorkers(job.id, kWorkers);
    }
  }
  ExpectGoodEnd(job);
}

TEST_F(CrashTest, ReservationWithoutReserveEndsEarlyForBudget) {
  TinyJobOptions options;
  options.crash_reserve = 0;
  WatchedJob job = Catch(TinyJob(options), [&](WatchedJob& running) {
    // A checkpoint stands, and steps were begun that it does not hold.
    ASSERT_TRUE(running.one->Await(HoldsCheckpoint(10)));
    ASSERT_TRUE(running.one->AwaitStep(15));
    KillAllWorkers(running.id, kWorkers);
  });
  const v1::Job ended = ExpectGoodEnd(job);
  EXPECT_EQ(ended.reason(), v1::BUDGET);
  EXPECT_LT(ended.completed_steps(), job.steps);
  EXPECT_GE(ended.completed_steps(), 10);
}

TEST_F(CrashTest, CorruptedCheckpointFallsBackToTheOneBefore) {
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->Await(HoldsCheckpoint(40)));
    coordinator_->Kill();
    std::vector<pid_t> workers;
    for (int rank = 0; rank < kWorkers; ++rank) {
      workers.push_back(FindWorker(state_dir_, running.id, rank));
    }
    KillAllWorkers(running.id, kWorkers);
    for (const pid_t worker : workers) ASSERT_TRUE(AwaitEnd(worker));
    // The one that the next attempt would go on from: not always the newest that was reported, nor,
    // after a kill between its name and the pointer to it, the newest there is.
    const std::string checkpoints = absl::StrCat(state_dir_, "/jobs/", running.id, "/checkpoints");
    ASSERT_GE(checkpoint::ListCheckpoints(checkpoints).size(), 2u);
    ASSERT_OK_AND_ASSIGN(auto found, checkpoint::FindLatestCheckpoint(checkpoints));
    const std::string next = found.checkpoint->directory();
    found.checkpoint.reset();  // Nobody holds it.
    Corrupt(next);
    StartCoordinator();
  });
  const std::vector<v1::JobEvent> events = job.one->Finish();
  EXPECT_THAT(events, Contains(Property(&v1::JobEvent::note, HasSubstr("checkpoint"))));
  ExpectGoodEnd(job);
}

TEST_F(CrashTest, DrainLeavesWorkersRunningForTheNextCoordinator) {
  std::optional<ProcessEnd> end;
  pid_t worker = -1;
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(10));
    end = coordinator_->Terminate();
    worker = FindWorker(state_dir_, running.id, 0);
    StartCoordinator();
  });
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 0);
  EXPECT_GT(worker, 0) << "it was not left running";
  const v1::Job ended = ExpectGoodEnd(job);
  EXPECT_EQ(ended.attempt(), 1);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
}

TEST_F(CrashTest, StopOnExitEndsWorkersAndTheNextCoordinatorResumesFromTheirCheckpoint) {
  coordinator_->Terminate();
  StartCoordinator({"--on_exit=stop"});
  TinyJobOptions options;
  options.crash_reserve = 0;
  std::optional<ProcessEnd> end;
  pid_t worker = -1;
  WatchedJob job = Catch(TinyJob(options), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(10));
    end = coordinator_->Terminate();
    worker = FindWorker(state_dir_, running.id, 0);
    StartCoordinator({"--on_exit=stop"});
  });
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 0);
  EXPECT_EQ(worker, -1) << "it was left running";
  const v1::Job ended = ExpectGoodEnd(job);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE) << "a clean stop costs nothing";
  EXPECT_EQ(ended.completed_steps(), job.steps);
}

TEST_F(CrashTest, CancelledJobKeepsItsCheckpointAndReturnsWhatNeverStarted) {
  absl::Status cancelled;
  WatchedJob job = Catch(TinyJob(), [&](WatchedJob& running) {
    ASSERT_TRUE(running.one->AwaitStep(10));
    cancelled = client().Cancel(running.id).status();
  });
  ASSERT_OK(cancelled);
  ExpectSameDenseEvents(job.one->Finish(), job.other->Finish());
  const v1::Job ended = ExpectSoundEnd(job.id, v1::CANCELLED);
  EXPECT_GT(ended.checkpoint_step(), 0);
}

}  // namespace
}  // namespace sotto::integration
