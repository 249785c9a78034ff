// What stays gathered, what is gathered ahead, what a unit is and what is computed again change
// memory and traffic, and no bit of the result.
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

struct Choice {
  std::string name;
  std::function<void(v1::JobPlan&)> apply;
};

void KeepAll(v1::JobPlan& plan) {
  for (int unit = 1; unit < plan.sharding().units_size(); ++unit) {
    plan.mutable_sharding()->add_kept_gathered(unit);
  }
}

void KeepTheSecond(v1::JobPlan& plan) { plan.mutable_sharding()->add_kept_gathered(2); }

void LookLessFarAhead(v1::JobPlan& plan) {
  plan.mutable_sharding()->set_gathered_slots(3);
  plan.mutable_sharding()->set_prefetch_depth(1);
}

void MergeBlocks(v1::JobPlan& plan) {
  // A block of width 16 has 3280 parameters: two and one.
  plan.mutable_spec()
      ->mutable_workers()
      ->mutable_wrapping()
      ->mutable_by_size()
      ->set_minimum_parameters(4000);
}

void SplitAtLinearMaps(v1::JobPlan& plan) {
  plan.mutable_spec()->mutable_workers()->mutable_wrapping()->mutable_by_layer()->add_kinds(
      "linear");
}

void SplitAtNorms(v1::JobPlan& plan) {
  plan.mutable_spec()->mutable_workers()->mutable_wrapping()->mutable_by_layer()->add_kinds(
      "layer_norm");
  plan.mutable_sharding()->set_gathered_slots(1);
}

void RecomputeAll(v1::JobPlan& plan) {
  for (int block : {0, 1, 2}) plan.mutable_train()->add_checkpointed_blocks(block);
}

// The first block is not among them, as it is when every second one is.
void RecomputeTheLast(v1::JobPlan& plan) {
  for (int block : {1, 2}) plan.mutable_train()->add_checkpointed_blocks(block);
}

void RecomputeInMergedBlocks(v1::JobPlan& plan) {
  MergeBlocks(plan);
  plan.mutable_train()->add_checkpointed_blocks(0);
  plan.mutable_train()->add_checkpointed_blocks(2);
  plan.mutable_sharding()->add_kept_gathered(1);
}

void CheckEverything(v1::JobPlan& plan) {
  RecomputeInMergedBlocks(plan);
  plan.mutable_sharding()->set_check_operations(true);
}

std::vector<Choice> Choices() {
  return {{"KeepAll", KeepAll},
          {"KeepTheSecond", KeepTheSecond},
          {"LookLessFarAhead", LookLessFarAhead},
          {"MergeBlocks", MergeBlocks},
          {"SplitAtLinearMaps", SplitAtLinearMaps},
          {"SplitAtNorms", SplitAtNorms},
          {"RecomputeAll", RecomputeAll},
          {"RecomputeTheLast", RecomputeTheLast},
          {"RecomputeInMergedBlocks", RecomputeInMergedBlocks},
          {"CheckEverything", CheckEverything}};
}

class ShardingOptionsTest : public ::testing::TestWithParam<std::string> {
 protected:
  static RunOptions Options(int world_size) {
    return {.world_size = world_size,
            .mode = GetParam(),
            .noise_multiplier = 0.5,
            .end_step = 3,
            .records = 20};
  }

  static RunOptions Options(int world_size, const Choice& choice) {
    RunOptions options = Options(world_size);
    options.adjust = [choice](v1::JobPlan& plan) {
      choice.apply(plan);
      PlaceAgain(plan);
    };
    return options;
  }
};

TEST_P(ShardingOptionsTest, NoneChangesABit) {
  const RunResult plain = Train(NewDirectory(), Options(1));
  ASSERT_TRUE(plain.succeeded);
  for (const Choice& choice : Choices()) {
    for (int world_size : {1, 3}) {
      const RunResult run = Train(NewDirectory(), Options(world_size, choice));
      ASSERT_TRUE(run.succeeded) << choice.name << " on " << world_size << " ranks";
      EXPECT_EQ(run.parameters, plain.parameters)
          << choice.name << " on " << world_size << " ranks";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, ShardingOptionsTest,
                         ::testing::Values("no_dp", "per_example", "flash_fuse"));

// Of the second block alone the biases are trained, so that units with and without gradients stand
// side by side in a slot.
TEST(ShardingOptionsWithFrozenParametersTest, NoneChangesABit) {
  RunOptions options{.frozen = {"wte.weight", "h.0.*", "h.1.*weight"},
                     .noise_multiplier = 0.5,
                     .end_step = 3,
                     .records = 20};
  const RunResult plain = Train(NewDirectory(), options);
  ASSERT_TRUE(plain.succeeded);
  options.world_size = 2;
  for (const Choice& choice : Choices()) {
    options.adjust = [choice](v1::JobPlan& plan) {
      choice.apply(plan);
      PlaceAgain(plan);
    };
    const RunResult run = Train(NewDirectory(), options);
    ASSERT_TRUE(run.succeeded) << choice.name;
    EXPECT_EQ(run.parameters, plain.parameters) << choice.name;
  }
}

TEST(ShardingOptionsUnderHybridShardTest, ReplicasKeepAndMergeToo) {
  RunOptions options{.world_size = 4,
                     .strategy = "HYBRID_SHARD",
                     .shard_group_size = 2,
                     .noise_multiplier = 0.5,
                     .end_step = 3,
                     .records = 20};
  const RunResult plain = Train(NewDirectory(), options);
  ASSERT_TRUE(plain.succeeded);
  options.adjust = [](v1::JobPlan& plan) {
    RecomputeInMergedBlocks(plan);
    PlaceAgain(plan);
  };
  const RunResult run = Train(NewDirectory(), options);
  ASSERT_TRUE(run.succeeded);
  EXPECT_EQ(run.parameters, plain.parameters);
}

// Initial weights beyond every float: without the checks they are found when the step has ended.
TEST(CheckedOperationsTest, TheFirstOffenceEndsTheJobByItsName) {
  for (const bool checks : {false, true}) {
    RunOptions options{.records = 20};
    options.adjust = [checks](v1::JobPlan& plan) {
      plan.mutable_spec()->mutable_model()->mutable_gpt2()->set_init_stddev(1e39);
      plan.mutable_sharding()->set_check_operations(checks);
    };
    const absl::Status status =
        TensorPeakOf(MakePlan(NewDirectory(), options), /*end_step=*/1).status();
    if (checks) {
      EXPECT_THAT(status,
                  StatusIs(absl::StatusCode::kInternal,
                           HasSubstr("check_operations: rank 0: after operation 1: 0 GATHER unit 0 "
                                     "slot 0: unit root has an infinite or NaN parameter")));
    } else {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange));
    }
  }
}

// Nothing is gathered there: parameters are looked at where they are first read.
TEST(CheckedOperationsTest, WholeParametersAreLookedAtUnderNoShard) {
  RunOptions options{.world_size = 2, .strategy = "NO_SHARD", .records = 20};
  options.adjust = [](v1::JobPlan& plan) { plan.mutable_sharding()->set_check_operations(true); };
  EXPECT_TRUE(Train(NewDirectory(), options).succeeded);
  options.world_size = 1;
  options.adjust = [](v1::JobPlan& plan) {
    plan.mutable_spec()->mutable_model()->mutable_gpt2()->set_init_stddev(1e39);
    plan.mutable_sharding()->set_check_operations(true);
  };
  EXPECT_THAT(TensorPeakOf(MakePlan(NewDirectory(), options), /*end_step=*/1),
              StatusIs(absl::StatusCode::kInternal,
                       AllOf(HasSubstr("check_operations: rank 0: before operation 1: 0 FORWARD"),
                             HasSubstr("unit root has an infinite or NaN parameter"))));
}

TEST(CheckedOperationsTest, AnOffenceEndsEveryRank) {
  RunOptions options{.world_size = 2, .records = 20};
  options.adjust = [](v1::JobPlan& plan) {
    plan.mutable_spec()->mutable_model()->mutable_gpt2()->set_init_stddev(1e39);
    plan.mutable_sharding()->set_check_operations(true);
  };
  EXPECT_FALSE(Train(NewDirectory(), options).succeeded);
}

TEST(ShardingOptionsAndCheckpointsTest, AnotherWrappingMayResume) {
  RunOptions straight{.noise_multiplier = 0.5, .records = 20};
  const RunResult expected = Train(NewDirectory(), straight);
  ASSERT_TRUE(expected.succeeded);
  RunOptions first = straight;
  first.checkpoint_directory = NewDirectory();
  first.world_size = 2;
  first.end_step = 5;
  first.adjust = [](v1::JobPlan& plan) {
    MergeBlocks(plan);
    PlaceAgain(plan);
  };
  ASSERT_TRUE(Train(NewDirectory(), first).succeeded);
  RunOptions second = first;
  second.world_size = 3;
  second.first_step = 5;
  second.end_step = 10;
  second.adjust = [](v1::JobPlan& plan) {
    SplitAtLinearMaps(plan);
    PlaceAgain(plan);
  };
  const RunResult resumed = Train(NewDirectory(), second);
  ASSERT_TRUE(resumed.succeeded);
  EXPECT_EQ(resumed.parameters, expected.parameters);
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
