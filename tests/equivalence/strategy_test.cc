// Whole trainings under every strategy end at the same model.
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/layout/init_values.h"
#include "common/spec/model_layout.h"
#include "gtest/gtest.h"
#include "tests/equivalence/run_comparison.h"
#include "tests/equivalence/training_run.h"

namespace sotto::equivalence {
namespace {

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

// SGD, because AdamW divides the rounding of parameters without a true gradient by itself.
constexpr double kLearningRate = 0.1;

// Strategies add the same numbers in another order: |d| <= 1e-6 max(1, |w|) after ten steps.
constexpr double kTolerance = 1e-6;

RunOptions Options(const std::string& strategy, int world_size) {
  return {.world_size = world_size,
          .strategy = strategy,
          .shard_group_size = 2,
          .noise_multiplier = 1,
          .sgd_learning_rate = kLearningRate};
}

TEST(StrategyTest, EveryStrategyAddsTheSameNoiseAndEndsAtTheSameModel) {
  const RunResult reference = Train(NewDirectory(), Options("FULL_SHARD", 1));
  ASSERT_TRUE(reference.succeeded);
  RunOptions without_noise = Options("FULL_SHARD", 1);
  without_noise.noise_multiplier = 0;
  const RunResult silent = Train(NewDirectory(), without_noise);
  ASSERT_TRUE(silent.succeeded);
  EXPECT_GT(LargestDifference(silent.parameters, reference.parameters), 100 * kTolerance);
  for (const std::string strategy : {"SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD"}) {
    for (int world_size : {1, 2, 4}) {
      if (strategy == "HYBRID_SHARD" && world_size == 1) continue;  // No group of two.
      const RunResult run = Train(NewDirectory(), Options(strategy, world_size));
      ASSERT_TRUE(run.succeeded) << strategy << " on " << world_size << " ranks";
      const double difference = LargestDifference(run.parameters, reference.parameters);
      std::cout << strategy << " on " << world_size << " ranks: " << difference << std::endl;
      EXPECT_LE(difference, kTolerance) << strategy << " on " << world_size << " ranks";
    }
  }
}

// With a momentum, so that the optimizer's state resumes too.
RunOptions WithMomentum(RunOptions options) {
  options.adjust = [](v1::JobPlan& plan) {
    plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
  };
  return options;
}

struct Part {
  std::string strategy;
  int world_size;
  int64_t end_step;
};

// Each part resumes from the checkpoint that the one before it left.
RunResult TrainInParts(const std::vector<Part>& parts) {
  const std::string checkpoints = NewDirectory();
  int64_t step = 0;
  RunResult run;
  for (const auto& [strategy, world_size, end_step] : parts) {
    RunOptions options = WithMomentum(Options(strategy, world_size));
    options.first_step = step;
    options.end_step = step = end_step;
    options.checkpoint_directory = checkpoints;
    run = Train(NewDirectory(), options);
    if (!run.succeeded) return run;
    EXPECT_FALSE(run.losses.empty());
  }
  return run;
}

// Momentum multiplies what rounding leaves by up to 10.
TEST(StrategyTest, ACheckpointResumesUnderAnotherStrategyAndWorldSize) {
  const RunResult straight = Train(NewDirectory(), WithMomentum(Options("FULL_SHARD", 1)));
  ASSERT_TRUE(straight.succeeded);
  const std::vector<std::vector<Part>> runs = {
      {{"FULL_SHARD", 4, 5}, {"HYBRID_SHARD", 4, 10}},
      {{"HYBRID_SHARD", 4, 5}, {"NO_SHARD", 1, 10}},
      {{"FULL_SHARD", 4, 5}, {"HYBRID_SHARD", 4, 7}, {"NO_SHARD", 1, 10}},
      {{"NO_SHARD", 2, 3}, {"SHARD_GRAD_OP", 3, 5}, {"HYBRID_SHARD", 4, 8}, {"FULL_SHARD", 2, 10}}};
  for (const std::vector<Part>& parts : runs) {
    const RunResult run = TrainInParts(parts);
    ASSERT_TRUE(run.succeeded) << parts.front().strategy << " to " << parts.back().strategy;
    const double difference = LargestDifference(run.parameters, straight.parameters);
    std::cout << parts.front().strategy << " to " << parts.back().strategy << ": " << difference
              << std::endl;
    EXPECT_LE(difference, kTolerance) << parts.front().strategy << " to " << parts.back().strategy;
  }
}

// Frozen: the whole first block, of the second the weights, and the embedding, which is also the
// head.
RunOptions Frozen(const std::string& strategy, int world_size) {
  RunOptions options = Options(strategy, world_size);
  options.frozen = {"wte.weight", "wpe.weight", "h.0.*", "h.1.*weight"};
  return options;
}

// Initial values in canonical order, and which of them are trained.
struct InitialModel {
  std::vector<float> parameters;
  std::vector<bool> trainable;
};

InitialModel Initial(const RunOptions& options) {
  const v1::JobPlan plan = MakePlan(NewDirectory(), options);
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  InitialModel initial;
  int64_t index = 0;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      std::vector<float> values(parameter.num_elements());
      layout::FillInitialValues(parameter, plan.spec().model().init_seed(), index++, 0,
                                absl::MakeSpan(values));
      initial.parameters.insert(initial.parameters.end(), values.begin(), values.end());
      initial.trainable.resize(initial.parameters.size(), parameter.trainable);
    }
  }
  return initial;
}

TEST(StrategyTest, FrozenParametersKeepTheirValuesAtEveryWorldSize) {
  const InitialModel initial = Initial(Frozen("FULL_SHARD", 1));
  const RunResult one = Train(NewDirectory(), Frozen("FULL_SHARD", 1));
  ASSERT_TRUE(one.succeeded);
  ASSERT_EQ(one.parameters.size(), initial.parameters.size());
  int64_t trained = 0, moved = 0;
  for (size_t i = 0; i < one.parameters.size(); ++i) {
    trained += initial.trainable[i];
    const bool moves = one.parameters[i] != initial.parameters[i];
    moved += moves;
    EXPECT_TRUE(initial.trainable[i] || !moves) << "frozen element " << i;
  }
  EXPECT_LT(trained, static_cast<int64_t>(one.parameters.size()) / 2);
  EXPECT_EQ(moved, trained);  // Noise reaches each of them.
  for (int world_size : {2, 4}) {
    const RunResult many = Train(NewDirectory(), Frozen("FULL_SHARD", world_size));
    ASSERT_TRUE(many.succeeded);
    EXPECT_EQ(many.parameters, one.parameters) << world_size << " ranks";
  }
  for (const std::string strategy : {"SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD"}) {
    const RunResult run = Train(NewDirectory(), Frozen(strategy, 2));
    ASSERT_TRUE(run.succeeded) << strategy;
    EXPECT_LE(LargestDifference(run.parameters, one.parameters), kTolerance) << strategy;
  }
}

TEST(StrategyTest, ACheckpointHoldsFrozenParametersToo) {
  const RunResult straight = Train(NewDirectory(), Frozen("FULL_SHARD", 1));
  const std::string checkpoints = NewDirectory();
  RunOptions first = Frozen("FULL_SHARD", 2);
  first.end_step = 4;
  first.checkpoint_directory = checkpoints;
  ASSERT_TRUE(Train(NewDirectory(), first).succeeded);
  RunOptions second = Frozen("FULL_SHARD", 3);
  second.first_step = 4;
  second.checkpoint_directory = checkpoints;
  const RunResult resumed = Train(NewDirectory(), second);
  ASSERT_TRUE(straight.succeeded && resumed.succeeded);
  EXPECT_EQ(resumed.parameters, straight.parameters);
}

}  // namespace
}  // namespace sotto::equivalence
