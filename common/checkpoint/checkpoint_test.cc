#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/checkpoint_retention.h"
#include "common/checkpoint/checkpoint_writer.h"

namespace sotto::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kPadded = 12;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(root_, MakeTempDir(::testing::TempDir() + "/checkpoint-"));
  }
  void TearDown() override { fs::remove_all(root_); }

  // The unit's element i is 1000 * step + i.
  absl::Status WriteRanks(const CheckpointName& name, int world_size, int ranks) {
    std::vector<float> values(kPadded);
    std::iota(values.begin(), values.end(), 1000.0f * name.step);
    const int64_t shard = kPadded / world_size;
    for (int rank = 0; rank < ranks; ++rank) {
      const absl::Span<const float> mine = absl::MakeSpan(values).subspan(rank * shard, shard);
      RETURN_IF_ERROR(WriteShardFile(root_, name, rank, world_size,
                                     {{"root", "master", mine}, {"root", "m", mine}}));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Write(const CheckpointName& name, int world_size = 2, int keep = 9) {
    RETURN_IF_ERROR(WriteRanks(name, world_size, world_size));
    v1::CheckpointManifest manifest;
    manifest.set_job("job-1");
    manifest.set_step(name.step);
    manifest.set_attempt(name.attempt);
    manifest.set_world_size(world_size);
    v1::CheckpointUnit& unit = *manifest.add_units();
    unit.set_name("root");
    unit.set_padded_elements(kPadded);
    v1::CheckpointTensor& tensor = *unit.add_tensors();
    tensor.set_name("wte.weight");
    tensor.add_shape(5);
    ASSIGN_OR_RETURN(const std::string directory, CommitCheckpoint(root_, manifest));
    RETURN_IF_ERROR(RemoveOldCheckpoints(root_, name, {.keep = keep}));
    return directory;
  }

  // Flips the last byte.
  void Damage(const std::string& path) {
    ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(path));
    bytes.back() ^= 1;
    ASSERT_OK(AtomicWriteFile(path, bytes));
  }

  std::string root_;
};

TEST_F(CheckpointTest, EveryWorldSizeReadsWhatAnotherWrote) {
  for (const int world_size : {1, 2, 3, 4}) {
    ASSERT_OK_AND_ASSIGN(const std::string directory, Write({world_size, 1}, world_size));
    ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(directory));
    for (int64_t begin = 0; begin < kPadded; ++begin) {
      std::vector<float> values(kPadded + 3, -1);
      ASSERT_OK(checkpoint->Read("root", "m", begin, absl::MakeSpan(values)));
      for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
        const float expected = begin + i < kPadded ? 1000.0f * world_size + begin + i : 0.0f;
        ASSERT_EQ(values[i], expected) << "world size " << world_size << ", element " << begin + i;
      }
    }
  }
}

TEST_F(CheckpointTest, UnknownUnitsAndKindsAreNotFound) {
  ASSERT_OK_AND_ASSIGN(const std::string directory, Write({1, 1}));
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(directory));
  std::vector<float> values(1);
  EXPECT_THAT(checkpoint->Read("root", "momentum", 0, absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(checkpoint->Read("h.0", "master", 0, absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(CheckpointTest, LatestIsTheNewestCommitted) {
  EXPECT_THAT(FindLatestCheckpoint(root_).status(), StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK(Write({10, 1}).status());
  ASSERT_OK(Write({20, 1}).status());
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().step(), 20);
  EXPECT_EQ(found.checkpoint->manifest().job(), "job-1");
  EXPECT_THAT(found.notes, IsEmpty());
}

TEST_F(CheckpointTest, DamagedOnesArePassedOverAndNamed) {
  ASSERT_OK(Write({10, 1}).status());
  ASSERT_OK_AND_ASSIGN(const std::string middle, Write({20, 1}));
  ASSERT_OK_AND_ASSIGN(const std::string newest, Write({20, 2}));
  Damage(newest + "/" + ShardFileName(1, 2));
  fs::resize_file(middle + "/" + ShardFileName(0, 2), 40);
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().step(), 10);
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("step-000000020-attempt-2"),
                                       HasSubstr("step-000000020-attempt-1")));
  EXPECT_THAT(Checkpoint::Open(newest).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(ShardFileName(1, 2))));
}

TEST_F(CheckpointTest, WhenAllAreDamagedThereIsDataLoss) {
  ASSERT_OK_AND_ASSIGN(const std::string only, Write({10, 1}));
  ASSERT_OK(AtomicWriteFile(only + "/manifest.json", "{"));
  EXPECT_THAT(FindLatestCheckpoint(root_).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("manifest.json")));
}

TEST_F(CheckpointTest, ALatestPointerToNothingIsPassedOver) {
  ASSERT_OK(Write({10, 1}).status());
  ASSERT_OK(AtomicWriteFile(root_ + "/latest", "step-000000099-attempt-1\n"));
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().step(), 10);
  EXPECT_THAT(found.notes, SizeIs(1));
}

TEST_F(CheckpointTest, AnUnfinishedCheckpointDoesNotCount) {
  ASSERT_OK(Write({10, 1}).status());
  ASSERT_OK(WriteRanks({20, 1}, /*world_size=*/2, /*ranks=*/1));
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().step(), 10);
  v1::CheckpointManifest manifest;
  manifest.set_step(20);
  manifest.set_attempt(1);
  manifest.set_world_size(2);
  EXPECT_THAT(CommitCheckpoint(root_, manifest),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("rank 1")));
}

TEST_F(CheckpointTest, TheNewestAreKeptAndLeftoversRemoved) {
  ASSERT_OK(Write({50, 1}).status());
  ASSERT_OK(WriteRanks({60, 1}, /*world_size=*/2, /*ranks=*/1));
  // A later attempt fell back to an earlier step: it is newer all the same.
  ASSERT_OK(Write({20, 2}).status());
  ASSERT_OK(Write({30, 2}, /*world_size=*/2, /*keep=*/2).status());
  EXPECT_THAT(ListCheckpoints(root_), ElementsAre(CheckpointName{30, 2}, CheckpointName{20, 2}));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), {}), 3);  // and the latest pointer
}

TEST_F(CheckpointTest, WhatIsInTheMakingStays) {
  ASSERT_OK(WriteRanks({60, 1}, /*world_size=*/2, /*ranks=*/1));
  ASSERT_OK(WriteRanks({10, 2}, /*world_size=*/2, /*ranks=*/1));
  ASSERT_OK(Write({50, 1}).status());
  EXPECT_TRUE(fs::exists(root_ + "/.writing-step-000000060-attempt-1"));
  EXPECT_TRUE(fs::exists(root_ + "/.writing-step-000000010-attempt-2"));
}

TEST_F(CheckpointTest, OneThatIsHeldStaysUntilItIsReleased) {
  ASSERT_OK_AND_ASSIGN(const std::string first, Write({10, 1}));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Checkpoint> reader, Checkpoint::Open(first));
  ASSERT_OK(Write({20, 1}, /*world_size=*/2, /*keep=*/1).status());
  EXPECT_THAT(ListCheckpoints(root_), ElementsAre(CheckpointName{20, 1}, CheckpointName{10, 1}));
  EXPECT_OK(Checkpoint::Open(first).status());  // Readers do not keep each other out.
  reader.reset();
  ASSERT_OK(Write({30, 1}, /*world_size=*/2, /*keep=*/1).status());
  EXPECT_THAT(ListCheckpoints(root_), ElementsAre(CheckpointName{30, 1}));
}

TEST_F(CheckpointTest, AnAttemptThatWasGivenUpSavesNoMore) {
  ASSERT_OK(Write({10, 2}).status());
  EXPECT_THAT(Write({20, 1}).status(),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("attempt 2")));
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().attempt(), 2);
}

TEST_F(CheckpointTest, AFullDiskLeavesThePreviousOne) {
  ASSERT_OK(Write({10, 1}).status());
  // A file where the folder would be made stands for a disk that refuses.
  ASSERT_OK(AtomicWriteFile(root_ + "/.writing-step-000000020-attempt-1", ""));
  EXPECT_THAT(Write({20, 1}).status(), StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_OK_AND_ASSIGN(const FoundCheckpoint found, FindLatestCheckpoint(root_));
  EXPECT_EQ(found.checkpoint->manifest().step(), 10);
}

struct RetentionCase {
  const char* name;
  Retention retention;
  std::vector<std::optional<double>> losses;  // newest first
  std::vector<int64_t> removed;               // places in `losses`
};

class RetentionTest : public ::testing::TestWithParam<RetentionCase> {};

TEST_P(RetentionTest, RemovesWhatNoRuleKeeps) {
  std::vector<RatedCheckpoint> rated;
  for (size_t i = 0; i < GetParam().losses.size(); ++i) {
    rated.push_back({{.step = static_cast<int64_t>(i)}, GetParam().losses[i]});
  }
  std::vector<int64_t> removed;
  for (const CheckpointName& name : ChooseRemoved(rated, GetParam().retention)) {
    removed.push_back(name.step);
  }
  EXPECT_EQ(removed, GetParam().removed);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, RetentionTest,
    ::testing::ValuesIn<RetentionCase>({
        {"NewestStay", {.keep = 2}, {3, 2, 1, 0}, {2, 3}},
        {"TheNewestAlwaysStays", {.keep = 0}, {3, 2}, {1}},
        {"FewerThanKept", {.keep = 5, .keep_best = 1}, {3, 2}, {}},
        {"TheBestStaysToo", {.keep = 1, .keep_best = 1}, {3, 2, 1, 2}, {1, 3}},
        {"TheBestMayBeTheNewest", {.keep = 1, .keep_best = 1}, {0.5, 2, 1}, {1, 2}},
        {"OfEqualOnesTheNewer", {.keep = 1, .keep_best = 1}, {3, 1, 1}, {2}},
        {"WithoutALossNoneIsBest", {.keep = 1, .keep_best = 2}, {3, {}, 1, {}}, {1, 3}},
        {"NaNIsNoLoss", {.keep = 1, .keep_best = 2}, {3, std::nan(""), 1}, {1}},
    }),
    [](const auto& info) { return info.param.name; });

TEST(CheckpointNameTest, OnlyItsOwnFormIsRead) {
  EXPECT_EQ(ParseDirectoryName("step-000000040-attempt-2"), (CheckpointName{40, 2}));
  for (const char* name : {"step-40-attempt-2", "step-000000040-attempt-2.bak", "latest", "",
                           ".writing-step-000000040-attempt-2"}) {
    EXPECT_EQ(ParseDirectoryName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace sotto::checkpoint
