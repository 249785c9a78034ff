// Who writes what and when, and what a save that failed leaves.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/checkpoint/testing/forwarding_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/checkpoint/testing/checkpointer_fixture.h"

namespace sotto::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// What the ranks write together is the state, once; none writes a byte of another's.
TEST_F(CheckpointerTest, EachRankWritesItsOwnShardAlone) {
  constexpr int kRanks = 3;
  std::vector<RecordingFiles> files(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    Checkpointer::Options options = Options(rank, kRanks);
    options.files = &files[rank];
    Checkpointer checkpointer(options);
    Rank state(rank, kRanks);
    state.Fill(10);
    ASSERT_OK(Write(checkpointer, 10, state));
    std::string written;
    for (const FileOperation& operation : files[rank].trace()) {
      if (!absl::StrContains(ToString(operation), "folder")) {
        ASSERT_THAT(operation.path, HasSubstr(absl::StrCat("/rank-0000", rank, "-of-00003.")))
            << ToString(operation);
      }
      if (operation.kind != FileOperation::Kind::kWrite) continue;
      if (absl::EndsWith(operation.path, ".safetensors")) written += operation.bytes;
    }
    // After the header there are its two shards, and nothing else.
    std::vector<float> expected = state.master;
    expected.insert(expected.end(), state.m.begin(), state.m.end());
    const size_t bytes = expected.size() * sizeof(float);
    uint64_t header = 0;
    ASSERT_GT(written.size(), bytes + sizeof(header));
    std::memcpy(&header, written.data(), sizeof(header));
    ASSERT_EQ(sizeof(header) + header + bytes, written.size());
    EXPECT_EQ(std::memcmp(written.data() + sizeof(header) + header, expected.data(), bytes), 0);
  }
}

// Holds every write back until it is let through.
class HeldFiles : public ForwardingFiles {
 public:
  absl::Status Write(int file, absl::string_view bytes) override {
    MutexLock lock(&mutex_, absl::Condition(&is_open_));
    return ForwardingFiles::Write(file, bytes);
  }
  absl::Status Sync(int file) override {
    MutexLock lock(&mutex_, absl::Condition(&may_sync_));
    return sync_result_.ok() ? ForwardingFiles::Sync(file) : sync_result_;
  }
  void LetWrite() {
    MutexLock lock(&mutex_);
    is_open_ = true;
  }
  void LetSync(absl::Status result = absl::OkStatus()) {
    MutexLock lock(&mutex_);
    sync_result_ = result;
    may_sync_ = true;
  }

 private:
  Mutex mutex_;
  bool is_open_ = false;
  bool may_sync_ = false;
  absl::Status sync_result_;
};

// What was begun at step 10 is what is saved, though the shard is changed before it is synced.
TEST_F(CheckpointerTest, ShardsMayChangeOnceTheyWereRead) {
  HeldFiles files;
  Checkpointer::Options options = Options(0, 1);
  options.files = &files;
  Checkpointer checkpointer(options);
  Rank state(0, 1);
  state.Fill(10);
  checkpointer.StartWriting(10, state.States());
  EXPECT_TRUE(checkpointer.IsWriting());
  files.LetWrite();
  checkpointer.AwaitRead();
  state.Fill(11);
  EXPECT_TRUE(checkpointer.IsWriting());  // The disk does not sync yet.
  files.LetSync();
  ASSERT_OK(checkpointer.AwaitWritten());
  checkpointer.StartCommit();
  ASSERT_OK(checkpointer.AwaitCommitted().status());
  Rank read(0, 1);
  ASSERT_OK(MakeCheckpointer(0, 1).Restore(read.States()).status());
  EXPECT_EQ(read.master[1], ValueAt("master", 1, 10));
}

TEST_F(CheckpointerTest, ErrorsOfTheBackgroundSurface) {
  HeldFiles files;
  Checkpointer::Options options = Options(0, 1);
  options.files = &files;
  Checkpointer checkpointer(options);
  Rank state(0, 1);
  checkpointer.StartWriting(10, state.States());
  files.LetWrite();
  files.LetSync(absl::UnavailableError("the disk is full"));
  checkpointer.AwaitRead();
  EXPECT_THAT(checkpointer.AwaitWritten(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("rank-00000-of-00001.safetensors"), HasSubstr("full"))));
  EXPECT_OK(checkpointer.AwaitWritten());  // Told once.
  // A full disk needs the room.
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/.writing-step-000000010-attempt-1"));
}

TEST_F(CheckpointerTest, AnAttemptBeginsWithoutWhatEarlierOnesLeft) {
  Save(1, 10);
  // Killed while it saved, and while it removed. A later attempt may be writing.
  Rank state(0, 2);
  Checkpointer killed = MakeCheckpointer(0, 2);
  ASSERT_OK(Write(killed, 20, state));
  std::filesystem::create_directories(root_ + "/.removing-step-000000005-attempt-1");
  std::filesystem::create_directories(root_ + "/.writing-step-000000020-attempt-3");
  Rank read(0, 1);
  ASSERT_OK(MakeCheckpointer(0, 1, /*attempt=*/2).Restore(read.States()).status());
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(names, UnorderedElementsAre("step-000000010-attempt-1", "latest",
                                          ".writing-step-000000020-attempt-3"));
}

// Rank 0 of a running attempt resumes from it: another attempt's retention must leave it alone.
TEST_F(CheckpointerTest, TheOneThatWasResumedFromStaysUntilTheNext) {
  const std::string first = Save(1, 10);
  Rank state(0, 1);
  Checkpointer resumed = MakeCheckpointer(0, 1, /*attempt=*/2);
  ASSERT_OK(resumed.Restore(state.States()).status());
  for (const int64_t step : {20, 30, 40}) Save(1, step);
  EXPECT_OK(Checkpoint::Open(first).status());
  ASSERT_OK(Write(resumed, 11, state));
  resumed.StartCommit();
  ASSERT_OK(resumed.AwaitCommitted().status());
  EXPECT_THAT(Checkpoint::Open(first).status(), StatusIs(absl::StatusCode::kNotFound));
}

// NO_SHARD and HYBRID_SHARD have several ranks 0, and one of them commits.
TEST_F(CheckpointerTest, AReplicaHoldsNothing) {
  const std::string first = Save(1, 10);
  Checkpointer::Options options = Options(0, 1, /*attempt=*/2);
  options.commits = false;
  Checkpointer replica(options);
  Rank state(0, 1);
  ASSERT_OK(replica.Restore(state.States()).status());
  for (const int64_t step : {20, 30, 40}) Save(1, step);
  EXPECT_THAT(Checkpoint::Open(first).status(), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace sotto::checkpoint
