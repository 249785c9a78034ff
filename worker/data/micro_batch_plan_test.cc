#include "worker/data/micro_batch_plan.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<int32_t> kLengths = {8, 16, 32};

TEST(MicroBatchPlanTest, RecordsGoToTheSmallestLengthThatHoldsThem) {
  EXPECT_THAT(PlanMicroBatches({10, 11, 12, 13, 14, 15}, {16, 8, 1, 9, 32, 99}, kLengths, 2),
              ElementsAre(PlannedMicroBatch{{11, 12}, 8}, PlannedMicroBatch{{10, 13}, 16},
                          PlannedMicroBatch{{14, 15}, 32}));
}

TEST(MicroBatchPlanTest, BucketsAreCutIntoPieces) {
  EXPECT_THAT(PlanMicroBatches({1, 2, 3, 4, 5}, {4, 4, 4, 4, 4}, kLengths, 2),
              ElementsAre(PlannedMicroBatch{{1, 2}, 8}, PlannedMicroBatch{{3, 4}, 8},
                          PlannedMicroBatch{{5}, 8}));
}

TEST(MicroBatchPlanTest, EmptyBatchHasNoMicroBatches) {
  EXPECT_THAT(PlanMicroBatches({}, {}, kLengths, 4), IsEmpty());
  EXPECT_THAT(MicroBatchesOfRank({}, 0, 2, 8, 0), IsEmpty());
}

TEST(MicroBatchesOfRankTest, RanksShareTheSamePlanAndRunTheSameNumber) {
  std::vector<int64_t> ids;
  std::vector<int64_t> lengths;
  for (int64_t id = 0; id < 50; ++id) {
    ids.push_back(id);
    lengths.push_back(1 + id * 7 % 40);
  }
  const std::vector<PlannedMicroBatch> plan = PlanMicroBatches(ids, lengths, kLengths, 4);
  for (int world_size : {1, 2, 3, 4, 8}) {
    std::map<int64_t, int> seen;
    const size_t per_rank = (plan.size() + world_size - 1) / world_size;
    for (int rank = 0; rank < world_size; ++rank) {
      const auto own = MicroBatchesOfRank(plan, rank, world_size, 8, 0);
      EXPECT_EQ(own.size(), per_rank);
      for (size_t i = 0; i < own.size(); ++i) {
        const size_t index = i * world_size + rank;
        EXPECT_EQ(own[i], index < plan.size() ? plan[index] : (PlannedMicroBatch{{}, 8}));
        for (int64_t id : own[i].ids) ++seen[id];
      }
    }
    EXPECT_EQ(seen.size(), 50);
    for (const auto& [id, count] : seen) EXPECT_EQ(count, 1) << id;
  }
}

TEST(MicroBatchesOfRankTest, MinimumCountPadsWithDummies) {
  EXPECT_THAT(MicroBatchesOfRank({}, 1, 2, 8, 3),
              ElementsAre(PlannedMicroBatch{{}, 8}, PlannedMicroBatch{{}, 8}));
}

}  // namespace
}  // namespace sotto::data
