// kill -9 in the midst of saves: the next start always loads a valid checkpoint.
//
//   checkpoint_kill_test [--kills=N] [--seed=S]     N processes, one after the other, on one folder
//   checkpoint_kill_test --save ROOT ATTEMPT KILL   (used by the test) saves until it is killed
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/testing/forwarding_files.h"
#include "common/checkpoint/testing/numbered_checkpoints.h"
#include "gtest/gtest.h"

extern char** environ;

namespace sotto::checkpoint {
namespace {

constexpr int kSaves = 3;  // by one process
constexpr int kDone = 77;  // exit code of one that was not killed
// Of a save: about as many as the commit's last operations and the removal of a checkpoint have.
constexpr int64_t kTailMoments = 24;

int kills = 20;
uint64_t seed = 1;

// Kills its own process in the midst of an operation.
class KillingFiles : public ForwardingFiles {
 public:
  // `moment`: in half operations. Even: before it; odd: after the first half of what it writes, or
  // after it.
  explicit KillingFiles(int64_t moment) : moment_(moment) {}

  int64_t moments() const { return 2 * operations_; }

  absl::Status MakeFolder(const std::string& path) override {
    const Around around(*this);
    return ForwardingFiles::MakeFolder(path);
  }
  absl::StatusOr<UniqueFd> Create(const std::string& path) override {
    const Around around(*this);
    return ForwardingFiles::Create(path);
  }
  absl::Status Write(int file, absl::string_view bytes) override {
    const Around around(*this);
    RETURN_IF_ERROR(ForwardingFiles::Write(file, bytes.substr(0, bytes.size() / 2)));
    around.InTheMiddle();
    return ForwardingFiles::Write(file, bytes.substr(bytes.size() / 2));
  }
  absl::Status Sync(int file) override {
    const Around around(*this);
    return ForwardingFiles::Sync(file);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const Around around(*this);
    return ForwardingFiles::Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    const Around around(*this);
    return ForwardingFiles::Remove(path);
  }
  absl::Status SyncFolder(const std::string& path) override {
    const Around around(*this);
    return ForwardingFiles::SyncFolder(path);
  }

 private:
  class Around {
   public:
    explicit Around(KillingFiles& files) : files_(files), begin_(2 * files.operations_++) {
      files_.KillAt(begin_);
    }
    ~Around() { InTheMiddle(); }
    void InTheMiddle() const { files_.KillAt(begin_ + 1); }

   private:
    KillingFiles& files_;
    const int64_t begin_;
  };

  void KillAt(int64_t moment) const {
    if (moment == moment_) kill(getpid(), SIGKILL);
  }

  const int64_t moment_;
  std::atomic<int64_t> operations_ = 0;
};

// What the killed process runs. Says on standard output after each save, retention included, how
// many moments there were so far.
int Save(const std::string& root, int64_t attempt, int64_t moment) {
  KillingFiles files(moment);
  for (int64_t step = 1; step <= kSaves; ++step) {
    SOTTO_CHECK_OK(SaveNumbered(root, {step, attempt}, {.keep = 2}, files));
    std::cout << files.moments() << std::endl;
  }
  return kDone;
}

struct Outcome {
  int status = 0;                // as waitpid has it
  std::vector<int64_t> moments;  // until the end of each save
};

Outcome SpawnSave(const std::string& root, int64_t attempt, int64_t moment) {
  auto pipe = MakePipe();
  SOTTO_CHECK_OK(pipe.status());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe->write_end.get(), STDOUT_FILENO);
  std::vector<std::string> words = {"/proc/self/exe", "--save", root, absl::StrCat(attempt),
                                    absl::StrCat(moment)};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  SOTTO_CHECK(posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  pipe->write_end.Reset();
  Outcome outcome;
  const auto text = ReadAll(pipe->read_end.get());
  SOTTO_CHECK_OK(text.status());
  SOTTO_CHECK(waitpid(pid, &outcome.status, 0) == pid);
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    SOTTO_CHECK(absl::SimpleAtoi(line, &outcome.moments.emplace_back()));
  }
  return outcome;
}

// The moments of a whole series of saves on a folder like `root` as it is: what was left there is
// removed too.
std::vector<int64_t> MomentsOfASeries(const std::string& root, int64_t attempt) {
  const std::string copy = root + ".copy";
  std::filesystem::copy(root, copy, std::filesystem::copy_options::recursive);
  const Outcome whole = SpawnSave(copy, attempt, /*moment=*/-1);
  std::filesystem::remove_all(copy);
  SOTTO_CHECK(WIFEXITED(whole.status) && WEXITSTATUS(whole.status) == kDone);
  SOTTO_CHECK(whole.moments.size() == kSaves);
  return whole.moments;
}

TEST(CheckpointKillTest, TheNextStartLoadsAValidCheckpoint) {
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  std::mt19937_64 random(seed);
  ASSERT_OK_AND_ASSIGN(const std::string folder, MakeTempDir(::testing::TempDir() + "/kill-"));
  const std::string root = folder + "/checkpoints";
  const Outcome first = SpawnSave(root, /*attempt=*/1, /*moment=*/-1);
  ASSERT_TRUE(WIFEXITED(first.status) && WEXITSTATUS(first.status) == kDone);
  CheckpointName committed{kSaves, 1};
  for (int64_t attempt = 2; attempt < 2 + kills; ++attempt) {
    // Each save of the series in turn, its last moments, which are of retention, every other time.
    const std::vector<int64_t> ends = MomentsOfASeries(root, attempt);
    const int64_t save = attempt % kSaves;
    const int64_t begin = save == 0 ? 0 : ends[save - 1];
    const int64_t tail = std::min(kTailMoments, ends[save] - begin);
    const int64_t span = attempt / kSaves % 2 == 0 ? tail : ends[save] - begin;
    const int64_t moment = ends[save] - 1 - static_cast<int64_t>(random() % span);
    const Outcome outcome = SpawnSave(root, attempt, moment);
    ASSERT_TRUE(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGKILL)
        << "attempt " << attempt << ", moment " << moment << " of " << ends.back();
    EXPECT_EQ(outcome.moments.size(), save) << "killed in another save";
    if (!outcome.moments.empty()) {
      committed = {static_cast<int64_t>(outcome.moments.size()), attempt};
    }
    ASSERT_OK_AND_ASSIGN(const CheckpointName loaded, LoadNumbered(root));
    const int64_t saving = committed.attempt == attempt ? committed.step + 1 : 1;
    EXPECT_TRUE(loaded == committed || loaded == (CheckpointName{saving, attempt}))
        << "attempt " << attempt << ", moment " << moment << ": loaded " << DirectoryName(loaded)
        << " after the commit of " << DirectoryName(committed);
    committed = loaded;
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sotto::checkpoint

int main(int argc, char** argv) {
  using sotto::checkpoint::kills;
  using sotto::checkpoint::seed;
  int64_t attempt = 0, moment = 0;
  if (argc == 5 && absl::string_view(argv[1]) == "--save") {
    SOTTO_CHECK(absl::SimpleAtoi(argv[3], &attempt) && absl::SimpleAtoi(argv[4], &moment));
    return sotto::checkpoint::Save(argv[2], attempt, moment);
  }
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    SOTTO_CHECK(
        (absl::ConsumePrefix(&argument, "--kills=") && absl::SimpleAtoi(argument, &kills)) ||
        (absl::ConsumePrefix(&argument, "--seed=") && absl::SimpleAtoi(argument, &seed)));
  }
  return RUN_ALL_TESTS();
}
