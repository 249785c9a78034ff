// kill -9 in the middle of commits. This binary is also the process that is killed: `--load FOLDER`
// (reports on descriptor 3). The seed is printed and can be given back in SOTTO_TEST_SEED.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/base/testing/printed_seed.h"
#include "server/ledger/testing/ledger_fixture.h"
#include "tests/durability/commit_load.h"
#include "tests/durability/state.h"

extern char** environ;

namespace sotto::durability {
namespace {

using ::sotto::database::Transaction;
using ::testing::HasSubstr;

constexpr int kReportFd = 3;

class CommitCrashTest : public ::testing::Test {
 protected:
  CommitCrashTest() : folder_(*MakeTempDir(::testing::TempDir() + "durability-")) {}
  ~CommitCrashTest() override {
    umount(folder_.c_str());  // Where a test mounted something.
    std::filesystem::remove_all(folder_);
  }

  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  // Starts the load on folder_, kills it after `lines` reports and a random fraction of a commit,
  // and gives all reports that it wrote.
  std::vector<std::string> RunAndKill(int lines) {
    Pipe pipe = *MakePipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe.write_end.get(), kReportFd);
    std::string program = std::filesystem::read_symlink("/proc/self/exe");
    std::string flag = "--load";
    std::string folder = folder_;
    char* const arguments[] = {program.data(), flag.data(), folder.data(), nullptr};
    pid_t pid = -1;
    EXPECT_EQ(posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    pipe.write_end.Reset();

    std::string reports;
    while (std::count(reports.begin(), reports.end(), '\n') < lines) {
      if (!ReadSome(pipe.read_end.get(), reports)) break;
    }
    ReadFor(std::chrono::microseconds(Draw(0, 8000)), pipe.read_end.get(), reports);
    kill(pid, SIGKILL);
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the load ended by itself: " << status;
    while (ReadSome(pipe.read_end.get(), reports)) {
    }
    std::vector<std::string> complete;
    std::istringstream stream(reports.substr(0, reports.rfind('\n') + 1));
    for (std::string line; std::getline(stream, line);) complete.push_back(line);
    return complete;
  }

  // Goes on reading for that long: where in a commit the kill falls is to be random.
  static void ReadFor(std::chrono::microseconds time, int fd, std::string& text) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
          end - std::chrono::steady_clock::now());
      if (left.count() <= 0) return;
      pollfd readable = {fd, POLLIN, 0};
      const timespec timeout = {0, left.count()};
      if (ppoll(&readable, 1, &timeout, nullptr) == 1 && !ReadSome(fd, text)) return;
    }
  }

  static bool ReadSome(int fd, std::string& text) {
    char buffer[4096];
    const ssize_t size = read(fd, buffer, sizeof(buffer));
    if (size > 0) text.append(buffer, static_cast<size_t>(size));
    return size > 0;
  }

  // Every grant that was reported is committed: the coordinator would have sent it.
  void ExpectCommitted(State& state, const std::vector<std::string>& reports) {
    std::set<std::string> committed;
    ASSERT_OK(state.database->ReadAndWait([&](Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(const ledger::EntryPage page,
                       state.ledger.ListEntries(transaction, "d", 0, 1'000'000));
      for (const v1::LedgerEntry& entry : page.entries) {
        committed.insert(absl::StrCat(entry.job(), " ", entry.attempt(), " ", entry.first_step(),
                                      " ", entry.end_step()));
      }
      return absl::OkStatus();
    }));
    for (const std::string& report : reports) EXPECT_EQ(committed.count(report), 1) << report;
  }

  const std::string folder_;
  std::mt19937_64 random_;
};

TEST_F(CommitCrashTest, KilledCoordinatorLosesNothingItReported) {
  random_.seed(PrintedSeed());
  std::vector<std::string> reports;
  int64_t num_grants = 0;
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    const std::vector<std::string> fresh = RunAndKill(static_cast<int>(Draw(1, 120)));
    EXPECT_FALSE(fresh.empty());
    reports.insert(reports.end(), fresh.begin(), fresh.end());
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<State> state, OpenState(folder_));
    ASSERT_OK_AND_ASSIGN(const int64_t grants_now, CheckState(*state));
    EXPECT_GE(grants_now, num_grants + static_cast<int64_t>(fresh.size()));
    num_grants = grants_now;
    ExpectCommitted(*state, reports);
  }
}

// A power cut leaves some prefix of the write-ahead log. Whatever the prefix, the state holds
// together, and a longer one never holds less.
TEST_F(CommitCrashTest, EveryPrefixOfTheLogHoldsTogether) {
  random_.seed(PrintedSeed());
  RunAndKill(60);
  ASSERT_OK_AND_ASSIGN(const std::string database, ReadFile(folder_ + "/sotto.db"));
  ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(folder_ + "/sotto.db-wal"));
  ASSERT_GT(log.size(), 100'000);
  std::set<size_t> cuts = {0, log.size()};
  while (cuts.size() < 40) cuts.insert(static_cast<size_t>(Draw(0, log.size())));
  int64_t num_grants = 0;
  for (const size_t cut : cuts) {
    const std::string copy = folder_ + "/cut";
    std::filesystem::remove_all(copy);
    std::filesystem::create_directory(copy);
    ASSERT_OK(AtomicWriteFile(copy + "/sotto.db", database));
    ASSERT_OK(AtomicWriteFile(copy + "/sotto.db-wal", log.substr(0, cut)));
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<State> state, OpenState(copy));
    ASSERT_OK_AND_ASSIGN(const int64_t grants_now, CheckState(*state));
    EXPECT_GE(grants_now, num_grants) << "cut at " << cut;
    num_grants = grants_now;
  }
  EXPECT_GE(num_grants, 60);
}

TEST_F(CommitCrashTest, FullDiskFailsRequestsAndLosesNothing) {
  if (mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "needs the right to mount";
  }
  int64_t num_done = 0;
  {
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<State> state, OpenState(folder_));
    const auto create = [&] {
      return state->database->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
        v1::Job job;
        ASSIGN_OR_RETURN(*job.mutable_id(), state->store->AllocateJobId(transaction));
        job.set_name(std::string(20'000, 'x'));
        RETURN_IF_ERROR(state->store->CreateJob(transaction, job));
        v1::JobEvent event;
        event.set_note("created");
        return state->store->AppendEvent(transaction, job.id(), event).status();
      });
    };
    absl::Status status = absl::OkStatus();
    while (num_done < 1000 && (status = create()).ok()) ++num_done;
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("full")));
    EXPECT_GT(num_done, 5);
    // The writer goes on: room appears, the next request succeeds.
    ASSERT_EQ(mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, "size=4m"), 0);
    EXPECT_OK(create());
    ++num_done;
  }
  {
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<State> state, OpenState(folder_));
    EXPECT_OK(CheckState(*state));
    ASSERT_OK(state->database->ReadAndWait([&](Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, state->store->ListLiveJobs(transaction));
      EXPECT_EQ(static_cast<int64_t>(jobs.size()), num_done);
      return absl::OkStatus();
    }));
  }
}

}  // namespace
}  // namespace sotto::durability

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--load") {
    return sotto::durability::RunCommitLoad(argv[2], sotto::durability::kReportFd);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
