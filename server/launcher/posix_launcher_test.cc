#include "server/launcher/posix_launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/mutex.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/job.pb.h"
#include "server/launcher/process_identity.h"

namespace sotto::launcher {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Collects exits; Await blocks until `count` of them have come.
class Exits {
 public:
  Launcher::ExitCallback Callback() {
    return [this](const WorkerExit& exit) {
      MutexLock lock(mutex_);
      exits_.push_back(exit);
    };
  }

  std::map<int, WorkerExit> Await(size_t count) {
    const auto enough = [this, count] { return exits_.size() >= count; };
    MutexLock lock(mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30)));
    std::map<int, WorkerExit> by_rank;
    for (const WorkerExit& exit : exits_) by_rank[exit.rank] = exit;
    EXPECT_EQ(by_rank.size(), exits_.size()) << "a rank was reported twice";
    return by_rank;
  }

 private:
  Mutex mutex_;
  std::vector<WorkerExit> exits_;
};

class PosixLauncherTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir("/tmp/launcher-")); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A worker binary that runs `script` in a shell.
  std::string Worker(const std::string& script) {
    const std::string path = folder_ + "/worker.sh";
    EXPECT_OK(AtomicWriteFile(path, "#!/bin/sh\n" + script + "\n", 0700));
    return path;
  }

  LaunchRequest Request(int world_size) const {
    return {"job-1",          /*attempt=*/3,   world_size, "cafe", /*communicator_bytes=*/12345,
            folder_ + "/run", "unix:/tmp/none"};
  }

  std::string Log(int rank) const {
    absl::StatusOr<std::string> text = ReadFile(absl::StrCat(folder_, "/run/rank-", rank, ".log"));
    return text.ok() ? *text : std::string(text.status().message());
  }

  std::string folder_;
  Exits exits_;
};

TEST_F(PosixLauncherTest, WorkerGetsArgumentsTokenMemoryAndRunDirectory) {
  ASSERT_OK_AND_ASSIGN(auto launcher,
                       PosixLauncher::Create(
                           Worker("echo \"$@\"; pwd; cat <&3; echo; stat -L -c %s /proc/self/fd/4"),
                           exits_.Callback()));
  ASSERT_OK(launcher->Launch(Request(/*world_size=*/2)));
  const auto exits = exits_.Await(2);
  EXPECT_EQ(exits.at(1).kind, WorkerExit::Kind::kExited);
  EXPECT_EQ(exits.at(1).code, 0);
  EXPECT_EQ(Log(1), absl::StrCat("--coordinator=unix:/tmp/none --job=job-1 --attempt=3 --rank=1 "
                                 "--world_size=2 --token_fd=3 --memfd=4 --run_directory=",
                                 folder_, "/run\n", folder_, "/run\ncafe\n12345\n"));
}

TEST_F(PosixLauncherTest, TokenIsNeitherInArgumentsNorInEnvironment) {
  ASSERT_OK_AND_ASSIGN(
      auto launcher,
      PosixLauncher::Create(Worker("tr '\\0' '\\n' </proc/$$/cmdline; env"), exits_.Callback()));
  ASSERT_OK(launcher->Launch(Request(/*world_size=*/1)));
  exits_.Await(1);
  EXPECT_THAT(Log(0), HasSubstr("--rank=0"));
  EXPECT_THAT(Log(0), Not(HasSubstr("cafe")));
}

TEST_F(PosixLauncherTest, WorkerInheritsNoOtherDescriptor) {
  // Not O_CLOEXEC, as a careless library might leave it.
  const UniqueFd source(open("/dev/null", O_RDONLY));
  const UniqueFd careless(fcntl(source.get(), F_DUPFD, 50));
  ASSERT_TRUE(careless.is_valid());
  ASSERT_OK_AND_ASSIGN(auto launcher,
                       PosixLauncher::Create(Worker("for f in /proc/$$/fd/*; do basename $f; done"),
                                             exits_.Callback()));
  ASSERT_OK(launcher->Launch(Request(/*world_size=*/1)));
  exits_.Await(1);
  // Of the shell itself: 5, the folder that it lists, and 10, the script.
  EXPECT_THAT(absl::StrSplit(Log(0), '\n', absl::SkipEmpty()),
              UnorderedElementsAre("0", "1", "2", "3", "4", "5", "10"));
}

TEST_F(PosixLauncherTest, WorkerLeadsAGroupWithSignalsReset) {
  // Signals 32 and 33 belong to the C library, which ignores them until the program installs its
  // own handlers.
  constexpr char kOwnOfTheLibrary[] = "180000000";
  // By the shell itself: while it starts a program it blocks all signals, which that program could
  // see.
  constexpr char kReadOwnSignals[] =
      "while IFS= read -r line; do case $line in Sig[BI][lg]*) echo \"$line\";; esac; done "
      "</proc/$$/status; cut -d' ' -f1,5 /proc/$$/stat";
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto ignored = signal(SIGUSR2, SIG_IGN);
  ASSERT_OK_AND_ASSIGN(auto launcher,
                       PosixLauncher::Create(Worker(kReadOwnSignals), exits_.Callback()));
  ASSERT_OK_AND_ASSIGN(const auto processes, launcher->Launch(Request(/*world_size=*/1)));
  exits_.Await(1);
  signal(SIGUSR2, ignored);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(Log(0), absl::StrCat("SigBlk:\t0000000000000000\nSigIgn:\t0000000", kOwnOfTheLibrary,
                                 "\n", processes[0].pid, " ", processes[0].pid, "\n"));
}

TEST_F(PosixLauncherTest, ExitCarriesSignalAndRecord) {
  const std::string record =
      R"({\"job\":\"job-1\",\"attempt\":3,\"rank\":0,\"outcome\":\"FAILED\",)"
      R"(\"reason\":\"INVALID_DATA\",\"message\":\"file changed\",\"started_steps\":7,)"
      R"(\"completed_steps\":6})";
  ASSERT_OK_AND_ASSIGN(auto launcher, PosixLauncher::Create(
                                          Worker("case \"$*\" in *--rank=0*) echo \"" + record +
                                                 "\" >exit-0.json; exit 65;; esac; exec sleep 600"),
                                          exits_.Callback()));
  ASSERT_OK_AND_ASSIGN(const auto processes, launcher->Launch(Request(/*world_size=*/2)));
  ASSERT_OK(launcher->Signal(processes[1], SIGKILL));
  const auto exits = exits_.Await(2);
  EXPECT_EQ(exits.at(0).code, 65);
  ASSERT_TRUE(exits.at(0).record.has_value());
  EXPECT_EQ(exits.at(0).record->outcome, ExitRecord::Outcome::kFailed);
  EXPECT_EQ(exits.at(0).record->reason, v1::INVALID_DATA);
  EXPECT_EQ(exits.at(0).record->started_steps, 7);
  EXPECT_EQ(exits.at(1).kind, WorkerExit::Kind::kSignalled);
  EXPECT_EQ(exits.at(1).code, SIGKILL);
  EXPECT_FALSE(exits.at(1).record.has_value());
  EXPECT_THAT(launcher->Signal(processes[1], SIGKILL), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(PosixLauncherTest, RecordOfAnotherAttemptIsIgnored) {
  ASSERT_OK_AND_ASSIGN(
      auto launcher,
      PosixLauncher::Create(
          Worker("echo '{\"job\":\"job-1\",\"attempt\":2,\"rank\":0,\"outcome\":\"DONE\"}' "
                 ">exit-0.json"),
          exits_.Callback()));
  ASSERT_OK(launcher->Launch(Request(/*world_size=*/1)));
  EXPECT_FALSE(exits_.Await(1).at(0).record.has_value());
}

TEST_F(PosixLauncherTest, MissingBinaryStartsNothing) {
  ASSERT_OK_AND_ASSIGN(auto launcher,
                       PosixLauncher::Create(folder_ + "/absent", exits_.Callback()));
  EXPECT_THAT(launcher->Launch(Request(/*world_size=*/2)), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(PosixLauncherTest, ProcessesOutliveTheLauncherAndAreAdoptedByTheNext) {
  const std::string worker = Worker("exec sleep 600");
  std::vector<WorkerProcess> processes;
  {
    Exits unused;
    ASSERT_OK_AND_ASSIGN(auto launcher, PosixLauncher::Create(worker, unused.Callback()));
    ASSERT_OK_AND_ASSIGN(processes, launcher->Launch(Request(/*world_size=*/1)));
  }
  ASSERT_OK_AND_ASSIGN(auto launcher, PosixLauncher::Create(worker, exits_.Callback()));
  launcher->Adopt(Request(/*world_size=*/1), processes);
  ASSERT_OK(launcher->Signal(processes[0], SIGKILL));
  EXPECT_EQ(exits_.Await(1).at(0).kind, WorkerExit::Kind::kVanished);
  waitpid(processes[0].pid, nullptr, 0);
}

TEST_F(PosixLauncherTest, ProcessIdWithAnotherStartTimeIsAStranger) {
  ASSERT_OK_AND_ASSIGN(auto launcher,
                       PosixLauncher::Create(Worker("exec sleep 600"), exits_.Callback()));
  ASSERT_OK_AND_ASSIGN(const uint64_t start_time, ReadStartTime(getpid()));
  ASSERT_OK_AND_ASSIGN(const std::string boot_id, ReadBootId());
  const WorkerProcess stranger = {/*rank=*/0, getpid(), start_time + 1, boot_id};
  // Signal 0 would reach this very process if the start time were not checked.
  EXPECT_THAT(launcher->Signal(stranger, 0), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(launcher->Signal({0, getpid(), start_time, "another boot"}, 0),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_OK(launcher->Signal({0, getpid(), start_time, boot_id}, 0));
  launcher->Adopt(Request(/*world_size=*/1), {stranger});
  EXPECT_EQ(exits_.Await(1).at(0).kind, WorkerExit::Kind::kVanished);
}

}  // namespace
}  // namespace sotto::launcher
