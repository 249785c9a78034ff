// A rank's optimizer state is one over the ranks of its shard group, but for padding.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/layout/model_description.h"
#include "common/spec/model_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/memory_bounds.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

using ::testing::Each;

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

RunOptions Options(const std::string& strategy, int world_size) {
  return {.world_size = world_size,
          .strategy = strategy,
          .shard_group_size = 2,
          .end_step = 1,
          .records = 20,
          .width = 32};
}

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Bytes of one fp32 value per parameter on each of `shards` ranks: parameters begin at multiples of
// 128 bytes, and so does every rank's part of a unit.
int64_t BytesPerRank(const v1::JobPlan& plan, int shards) {
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  int64_t bytes = 0;
  for (const layout::UnitDescription& unit : model.units) {
    int64_t unit_bytes = 0;
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      if (parameter.trainable) unit_bytes += RoundUp(4 * parameter.num_elements(), 128);
    }
    bytes += RoundUp(unit_bytes, 128 * shards) / shards;
  }
  return bytes;
}

struct Case {
  std::string strategy;
  int world_size;
  int shards;
};

void PrintTo(const Case& tested, std::ostream* out) {
  *out << tested.strategy << " on " << tested.world_size;
}

class StateSizeTest : public ::testing::TestWithParam<Case> {};

TEST_P(StateSizeTest, IsTheRanksShareOfTwoValuesPerParameter) {
  const auto& [strategy, world_size, shards] = GetParam();
  const RunOptions options = Options(strategy, world_size);
  const std::string directory = NewDirectory();
  const RunResult run = Train(directory, options);
  ASSERT_TRUE(run.succeeded);
  const v1::JobPlan plan = MakePlan(directory, options);
  const int64_t expected = 2 * BytesPerRank(plan, shards);
  ASSERT_EQ(run.state_bytes.size(), static_cast<size_t>(world_size));
  EXPECT_THAT(run.state_bytes, Each(expected));
  EXPECT_EQ(EstimateOf(plan).optimizer_bytes, expected);
  // Padding: less than 128 bytes per rank, unit and value.
  const int64_t units = plan.sharding().units_size();
  const int64_t whole = 2 * BytesPerRank(plan, 1);
  EXPECT_GE(expected * shards, whole);
  EXPECT_LT(expected - whole / shards, 2 * units * 128);
  EXPECT_GT(whole, 100 * units * 128);
}

INSTANTIATE_TEST_SUITE_P(Strategies, StateSizeTest,
                         ::testing::Values(Case{"FULL_SHARD", 1, 1}, Case{"FULL_SHARD", 2, 2},
                                           Case{"FULL_SHARD", 4, 4}, Case{"FULL_SHARD", 8, 8},
                                           Case{"SHARD_GRAD_OP", 4, 4}, Case{"HYBRID_SHARD", 4, 2},
                                           Case{"NO_SHARD", 2, 1}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.strategy, "_", info.param.world_size,
                                               "_ranks");
                         });

TEST(StateSizeTest, FrozenParametersHaveNoState) {
  RunOptions options = Options("FULL_SHARD", 3);
  options.frozen = {"wte.weight", "h.0.*", "h.1.*weight"};
  const std::string directory = NewDirectory();
  const RunResult run = Train(directory, options);
  ASSERT_TRUE(run.succeeded);
  EXPECT_THAT(run.state_bytes, Each(2 * BytesPerRank(MakePlan(directory, options), 3)));
}

TEST(StateSizeTest, SgdHasAMomentumOrNothing) {
  for (const double momentum : {0.0, 0.9}) {
    RunOptions options = Options("FULL_SHARD", 2);
    options.sgd_learning_rate = 0.1;
    options.adjust = [momentum](v1::JobPlan& plan) {
      plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_sgd()->set_momentum(
          momentum);
    };
    const std::string directory = NewDirectory();
    const RunResult run = Train(directory, options);
    ASSERT_TRUE(run.succeeded);
    const int64_t values = momentum == 0 ? 0 : 1;
    EXPECT_THAT(run.state_bytes, Each(values * BytesPerRank(MakePlan(directory, options), 2)));
  }
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
