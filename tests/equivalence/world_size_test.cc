// The result of a training does not depend on the number of ranks, bit for bit (FULL_SHARD,
// LocalCommunicator).
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "tests/equivalence/run_comparison.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

struct Case {
  std::string mode;
  double noise_multiplier;
};

class WorldSizeTest : public ::testing::TestWithParam<Case> {
 protected:
  RunOptions Options(int world_size) const {
    return {.world_size = world_size,
            .mode = GetParam().mode,
            .noise_multiplier = GetParam().noise_multiplier};
  }
};

// 40 records at rate 1/2 in three buckets of micro-batches of 3: about 8 micro-batches, mostly not
// divisible by 4 or 8, so that ranks run dummies.
TEST_P(WorldSizeTest, TenStepsGiveTheSameBitsAtOneTwoFourAndEightRanks) {
  const RunResult one = Train(NewDirectory(), Options(1));
  ASSERT_TRUE(one.succeeded);
  ASSERT_EQ(one.losses.size(), 10);
  for (float parameter : one.parameters) ASSERT_TRUE(std::isfinite(parameter));
  for (int world_size : {2, 4, 8}) {
    const RunResult many = Train(NewDirectory(), Options(world_size));
    ASSERT_TRUE(many.succeeded) << world_size;
    EXPECT_EQ(Differences(many.parameters, one.parameters), 0) << world_size << " ranks";
  }
}

TEST_P(WorldSizeTest, ACheckpointOfTwoRanksResumesOnFourRanksWithTheSameBits) {
  const RunResult straight = Train(NewDirectory(), Options(1));
  ASSERT_TRUE(straight.succeeded);
  const std::string checkpoints = NewDirectory();
  RunOptions first = Options(2);
  first.end_step = 5;
  first.checkpoint_directory = checkpoints;
  const RunResult half = Train(NewDirectory(), first);
  ASSERT_TRUE(half.succeeded);
  EXPECT_NE(Differences(half.parameters, straight.parameters), 0);
  RunOptions second = Options(4);
  second.first_step = 5;
  second.checkpoint_directory = checkpoints;
  const RunResult resumed = Train(NewDirectory(), second);
  ASSERT_TRUE(resumed.succeeded);
  EXPECT_EQ(resumed.losses.size(), 5);
  EXPECT_EQ(Differences(resumed.parameters, straight.parameters), 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, WorldSizeTest,
                         ::testing::Values(Case{"no_dp", 0}, Case{"per_example", 0},
                                           Case{"per_example", 1}, Case{"flash", 0},
                                           Case{"flash", 1}, Case{"flash_fuse_bk", 1}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.mode, "_sigma_",
                                               info.param.noise_multiplier);
                         });

TEST(WorldSizeTest, AnUntiedHeadGivesTheSameBits) {
  RunOptions options{.tied_head = false};
  const RunResult one = Train(NewDirectory(), options);
  options.world_size = 4;
  const RunResult four = Train(NewDirectory(), options);
  ASSERT_TRUE(one.succeeded && four.succeeded);
  EXPECT_EQ(Differences(one.parameters, four.parameters), 0);
}

TEST(WorldSizeTest, OneBlockNeedsNoSecondSlot) {
  RunOptions options{.layers = 1};
  const RunResult one = Train(NewDirectory(), options);
  options.world_size = 2;
  const RunResult two = Train(NewDirectory(), options);
  ASSERT_TRUE(one.succeeded && two.succeeded);
  EXPECT_EQ(Differences(one.parameters, two.parameters), 0);
}

// The comparison above can fail: another seed of noise, or none, gives other bits.
TEST(WorldSizeTest, NoiseChangesTheModel) {
  const RunResult without = Train(NewDirectory(), {.noise_multiplier = 0});
  const RunResult with = Train(NewDirectory(), {.noise_multiplier = 1});
  ASSERT_TRUE(without.succeeded && with.succeeded);
  EXPECT_GT(Differences(without.parameters, with.parameters),
            static_cast<int64_t>(with.parameters.size()) / 2);
}

TEST(WorldSizeTest, EmptyDrawsAreStepsToo) {
  RunOptions options{.noise_multiplier = 1, .sampling_rate = 0.005};  // One record in five steps.
  const RunResult one = Train(NewDirectory(), options);
  options.world_size = 2;
  const RunResult two = Train(NewDirectory(), options);
  ASSERT_TRUE(one.succeeded && two.succeeded);
  EXPECT_EQ(one.losses.size(), 10);
  EXPECT_EQ(Differences(one.parameters, two.parameters), 0);
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
