#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/schedule_cases.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::HasSubstr;

FlatLayout MakeLayout(int blocks, int world_size) {
  return *FlatLayout::Create(
      *MakeGpt2Description(
          {.vocabulary_size = 11, .width = 4, .layers = blocks, .heads = 2, .max_length = 8}),
      world_size);
}

class ScheduleGridTest
    : public ::testing::TestWithParam<std::tuple<Strategy, Kept, int, int, int>> {};

TEST_P(ScheduleGridTest, IsValidAndCountsEqualTheClosedForms) {
  const auto [strategy, kept, blocks, gathered_slots, micro_batches] = GetParam();
  ScheduleOptions options = MakeOptions(blocks, kept, gathered_slots);
  options.strategy = strategy;
  for (bool deferred : {false, true}) {
    options.deferred_norms = deferred && kept != Kept::kNothing;
    ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
    EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
    CollectiveCounts counts = CountCollectives(schedule, MakeLayout(blocks, 4));
    counts.bytes_received = 0;
    EXPECT_EQ(counts, ExpectedCollectives(options, micro_batches)) << PrintSchedule(schedule);
  }
}

// Every choice of frozen stages; blocks before the first trainable stage get no backward.
TEST_P(ScheduleGridTest, FrozenStagesHaveNoGradient) {
  const auto [strategy, kept, blocks, gathered_slots, micro_batches] = GetParam();
  if (blocks > 3) return;
  ScheduleOptions options = MakeOptions(blocks, kept, gathered_slots);
  options.strategy = strategy;
  const int stages = blocks + 2;
  for (int mask = 1; mask < 1 << stages; ++mask) {
    options.trainable_stages.clear();
    for (int stage = 0; stage < stages; ++stage) {
      options.trainable_stages.push_back((mask >> stage & 1) != 0);
    }
    ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
    EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
    int first = 0;
    while (!options.trainable_stages[first]) ++first;
    for (const ScheduledOperation& operation : schedule.operations) {
      if (operation.operations.Has(Operation::kBackwardInput)) {
        EXPECT_GE(operation.stage, first);
      }
      if (operation.gradient_slot < 0) continue;
      const bool trainable =
          std::max(operation.block, operation.unit) == 0
              ? options.trainable_stages.front() || options.trainable_stages.back()
              : options.trainable_stages[std::max(operation.block, operation.unit)];
      EXPECT_TRUE(trainable) << PrintSchedule(schedule);
    }
  }
}

// Every choice of kept blocks and of the prefetch depth.
TEST_P(ScheduleGridTest, KeptUnitsAreGatheredOncePerStep) {
  const auto [strategy, kept, blocks, gathered_slots, micro_batches] = GetParam();
  if (HasSlotPerUnit(strategy) || blocks > 4) return;
  ScheduleOptions options = MakeOptions(blocks, kept, gathered_slots);
  options.strategy = strategy;
  for (int mask = 0; mask < 1 << blocks; ++mask) {
    options.kept_gathered = {false};
    for (int i = 0; i < blocks; ++i) options.kept_gathered.push_back((mask >> i & 1) != 0);
    for (options.prefetch_depth = 0; options.prefetch_depth < gathered_slots;
         ++options.prefetch_depth) {
      ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
      EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
      CollectiveCounts counts = CountCollectives(schedule, MakeLayout(blocks, 4));
      counts.bytes_received = 0;
      EXPECT_EQ(counts, ExpectedCollectives(options, micro_batches)) << PrintSchedule(schedule);
    }
  }
}

// Two blocks share a unit; each block has two units, the second one of the first block frozen.
TEST_P(ScheduleGridTest, UnitsNeedNotBeBlocks) {
  const auto [strategy, kept, blocks, gathered_slots, micro_batches] = GetParam();
  ScheduleOptions merged = MakeOptions(blocks, kept, gathered_slots);
  ScheduleOptions split = merged;
  merged.strategy = split.strategy = strategy;
  merged.block_units = split.block_units = {{0}};
  split.trainable_units = {true};
  for (int i = 0; i < blocks; ++i) {
    merged.block_units.push_back({1 + i / 2});
    split.block_units.push_back({1 + 2 * i, 2 + 2 * i});
    split.trainable_units.insert(split.trainable_units.end(), {true, i > 0});
  }
  for (const ScheduleOptions& options : {merged, split}) {
    ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
    EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
    CollectiveCounts counts = CountCollectives(schedule, MakeLayout(2 * blocks, 4));
    counts.bytes_received = 0;
    EXPECT_EQ(counts, ExpectedCollectives(options, micro_batches)) << PrintSchedule(schedule);
  }
}

TEST_P(ScheduleGridTest, CheckpointedStagesRunForwardAgainInEachBackward) {
  const auto [strategy, kept, blocks, gathered_slots, micro_batches] = GetParam();
  if (kept == Kept::kOutputGrads) return;
  ScheduleOptions options = MakeOptions(blocks, kept, gathered_slots);
  options.strategy = strategy;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule plain, BuildSchedule(options, micro_batches));
  options.checkpointed_stages.assign(blocks + 2, false);
  for (int i = 1; i <= blocks; i += 2) options.checkpointed_stages[i] = true;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
  EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
  int recomputed = 0;
  ASSERT_EQ(schedule.operations.size(), plain.operations.size());
  for (size_t i = 0; i < schedule.operations.size(); ++i) {
    ScheduledOperation operation = plain.operations[i];
    if (schedule.operations[i].operations.Has(Operation::kRecompute)) {
      ++recomputed;
      operation.operations = operation.operations | Operation::kRecompute;
    }
    EXPECT_EQ(schedule.operations[i], operation);
  }
  const int passes = kept == Kept::kActivations ? 2 : 1;
  EXPECT_EQ(recomputed, passes * micro_batches * ((blocks + 1) / 2));
}

INSTANTIATE_TEST_SUITE_P(Grid, ScheduleGridTest,
                         ::testing::Combine(::testing::ValuesIn(kAllStrategies),
                                            ::testing::ValuesIn(kAllKept),
                                            ::testing::Values(1, 2, 3, 4, 5, 7, 12),
                                            ::testing::Values(1, 2, 3, 4, 9),
                                            ::testing::Values(0, 1, 2, 5)));

TEST(ScheduleTest, ForwardOnlyGathersEachBlockOncePerMicroBatch) {
  for (int blocks : {1, 2, 3, 5}) {
    for (int slots : {1, 2, 3, 5}) {
      ScheduleOptions options = MakeOptions(blocks, Kept::kNothing, slots);
      options.forward_only = true;
      ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 3));
      EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
      CollectiveCounts counts = CountCollectives(schedule, MakeLayout(blocks, 4));
      counts.bytes_received = 0;
      EXPECT_EQ(counts, ExpectedCollectives(options, 3)) << PrintSchedule(schedule);
    }
  }
}

TEST(ScheduleTest, NextGatherIsIssuedBeforeTheCurrentCompute) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(2, Kept::kNothing, 2), 1));
  EXPECT_EQ(PrintSchedule(schedule),
            "0 GATHER unit 0 slot 0\n"
            "0 GATHER unit 1 slot 1\n"
            "0 FORWARD stage 0 block 0 slot 0\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 1 block 1 slot 1\n"
            "0 FORWARD stage 2 block 2 slot 2\n"
            "0 FORWARD stage 3 block 0 slot 0\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 3 block 0 slot 0 gradient 0 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 block 2 slot 2 gradient 1 cleared\n"
            "0 REDUCE unit 2 gradient 1\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 1 block 1 slot 1 gradient 2 cleared\n"
            "0 REDUCE unit 1 gradient 2\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 0 block 0 slot 0 gradient 0\n"
            "0 REDUCE unit 0 gradient 0\n"
            "0 RESHARD unit 2 slot 2\n"
            "0 RESHARD unit 1 slot 1\n"
            "0 RESHARD unit 0 slot 0\n");
}

TEST(ScheduleTest, GathersAsManyBlocksAheadAsItIsTold) {
  ScheduleOptions options = MakeOptions(4, Kept::kNothing, 3);
  const auto begin = [&] {
    const std::string text = PrintSchedule(*BuildSchedule(options, 1));
    return text.substr(0, text.find("0 FORWARD stage 2"));
  };
  EXPECT_EQ(begin(),
            "0 GATHER unit 0 slot 0\n"
            "0 GATHER unit 1 slot 1\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 0 block 0 slot 0\n"
            "0 GATHER unit 3 slot 3\n"
            "0 FORWARD stage 1 block 1 slot 1\n"
            "0 RESHARD unit 1 slot 1\n"
            "0 GATHER unit 4 slot 1\n");
  options.prefetch_depth = 1;
  EXPECT_EQ(begin(),
            "0 GATHER unit 0 slot 0\n"
            "0 GATHER unit 1 slot 1\n"
            "0 FORWARD stage 0 block 0 slot 0\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 1 block 1 slot 1\n"
            "0 GATHER unit 3 slot 3\n");
}

TEST(ScheduleTest, AKeptUnitHasASlotBehindTheSharedOnes) {
  ScheduleOptions options = MakeOptions(3, Kept::kNothing, 1);
  options.kept_gathered = {false, false, true, false};
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 2));
  const std::string text = PrintSchedule(schedule);
  EXPECT_THAT(text, HasSubstr("0 GATHER unit 2 slot 2\n"
                              "0 FORWARD stage 2 block 2 slot 2\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("1 GATHER unit 2")));
  EXPECT_THAT(text, HasSubstr("1 RESHARD unit 2 slot 2\n"));
}

TEST(ScheduleTest, HeldGradientsAreFoldedUnitByUnitAfterTheCoefficients) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(1, Kept::kExampleGrads, 1), 1));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 BACKWARD_INPUT+NORM stage 0 block 0 slot 0\n"
                                                 "0 COEFFICIENTS\n"
                                                 "0 FOLD block 1 gradient 1 cleared\n"
                                                 "0 REDUCE unit 1 gradient 1\n"
                                                 "0 FOLD block 0 gradient 0 cleared\n"
                                                 "0 REDUCE unit 0 gradient 0\n"));
}

TEST(ScheduleTest, NamesNoMoreSlotsThanThereAreBlocks) {
  for (int blocks : {1, 2, 3}) {
    for (Kept kept : {Kept::kNothing, Kept::kActivations, Kept::kExampleGrads}) {
      ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                           BuildSchedule(MakeOptions(blocks, kept, 4, 4), 3));
      for (const ScheduledOperation& operation : schedule.operations) {
        EXPECT_LE(operation.slot, blocks);
        EXPECT_LE(operation.gradient_slot, blocks);
      }
    }
  }
}

TEST(ScheduleTest, BytesFollowFromPaddedSizes) {
  const FlatLayout layout = MakeLayout(3, 4);
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(3, Kept::kNothing, 2), 2));
  const CollectiveCounts counts = CountCollectives(schedule, layout);
  const int64_t root = layout.unit(0).shard_elements * 3 * 4;
  const int64_t block = layout.unit(1).shard_elements * 3 * 4;
  EXPECT_EQ(counts.bytes_received, root * 3 + block * (counts.block_gathers + 6));
  EXPECT_EQ(CountCollectives(schedule, MakeLayout(3, 1)).bytes_received, 0);
}

TEST(ScheduleTest, CanonicalTextTellsOptionsApart) {
  ASSERT_OK_AND_ASSIGN(const std::string text,
                       CanonicalScheduleText(MakeOptions(3, Kept::kNothing, 2)));
  EXPECT_THAT(CanonicalScheduleText(MakeOptions(3, Kept::kNothing, 2)), IsOkAndHolds(text));
  EXPECT_THAT(CanonicalScheduleText(MakeOptions(3, Kept::kNothing, 3)),
              IsOkAndHolds(::testing::Ne(text)));
  EXPECT_THAT(CanonicalScheduleText(MakeOptions(3, Kept::kExampleGrads, 2)),
              IsOkAndHolds(::testing::Ne(text)));
}

TEST(ScheduleTest, BookKeepingFormsWeightGradientsWithoutASecondPass) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(1, Kept::kOutputGrads, 1), 1));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 BACKWARD_INPUT+NORM stage 0 block 0 slot 0\n"
                                                 "0 COEFFICIENTS\n"
                                                 "0 WEIGHT_GRAD block 1 gradient 1 cleared\n"
                                                 "0 REDUCE unit 1 gradient 1\n"
                                                 "0 WEIGHT_GRAD block 0 slot 0 gradient 0 cleared\n"
                                                 "0 REDUCE unit 0 gradient 0\n"));
}

TEST(ScheduleTest, OnePassMixesBothKindsOfHeldGradients) {
  ScheduleOptions options = MakeOptions(2, Kept::kExampleGrads, 1);
  options.held_work = {Operation::kWeightGrad, Operation::kFold,
                       Operation::kFold | Operation::kWeightGrad};
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 2));
  EXPECT_OK(CheckSchedule(schedule));
  EXPECT_THAT(PrintSchedule(schedule),
              HasSubstr("0 WEIGHT_GRAD+FOLD block 2 gradient 1 cleared\n"));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 FOLD block 1 gradient 2 cleared\n"));
}

TEST(ScheduleTest, DeferredNormsComeAfterTheWholeBackward) {
  ScheduleOptions options = MakeOptions(1, Kept::kActivations, 1);
  options.deferred_norms = true;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 1));
  EXPECT_THAT(
      PrintSchedule(schedule),
      HasSubstr("0 BACKWARD_INPUT stage 2 block 0 slot 0\n"
                "0 BACKWARD_INPUT stage 1 block 1 slot 1\n"
                "0 BACKWARD_INPUT stage 0 block 0 slot 0\n"
                "0 NORM\n"
                "0 COEFFICIENTS\n"
                "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 block 0 slot 0 gradient 0 cleared\n"));
}

TEST(ScheduleTest, ShardGradOpGathersOnceAndReducesOnce) {
  ScheduleOptions options = MakeOptions(2, Kept::kNothing, 1);
  options.strategy = Strategy::kShardGradOp;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 2));
  EXPECT_EQ(PrintSchedule(schedule),
            "0 GATHER unit 0 slot 0\n"
            "0 GATHER unit 1 slot 1\n"
            "0 FORWARD stage 0 block 0 slot 0\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 1 block 1 slot 1\n"
            "0 FORWARD stage 2 block 2 slot 2\n"
            "0 FORWARD stage 3 block 0 slot 0\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 3 block 0 slot 0 gradient 0 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 block 2 slot 2 gradient 2 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 1 block 1 slot 1 gradient 1 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 0 block 0 slot 0 gradient 0\n"
            "1 FORWARD stage 0 block 0 slot 0\n"
            "1 FORWARD stage 1 block 1 slot 1\n"
            "1 FORWARD stage 2 block 2 slot 2\n"
            "1 FORWARD stage 3 block 0 slot 0\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 3 block 0 slot 0 gradient 0\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 2 block 2 slot 2 gradient 2\n"
            "1 REDUCE unit 2 gradient 2\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 1 block 1 slot 1 gradient 1\n"
            "1 REDUCE unit 1 gradient 1\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 0 block 0 slot 0 gradient 0\n"
            "1 REDUCE unit 0 gradient 0\n"
            "1 RESHARD unit 2 slot 2\n"
            "1 RESHARD unit 1 slot 1\n"
            "1 RESHARD unit 0 slot 0\n");
}

TEST(ScheduleTest, ReplicasAreSummedOncePerStep) {
  for (Strategy strategy : {Strategy::kHybridShard, Strategy::kNoShard}) {
    ScheduleOptions options = MakeOptions(2, Kept::kNothing, 1);
    options.strategy = strategy;
    ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 3));
    int sums = 0;
    for (const ScheduledOperation& operation : schedule.operations) sums += operation.sums_replicas;
    EXPECT_EQ(sums, 3);
    const FlatLayout layout = MakeLayout(2, 1);
    EXPECT_EQ(CountCollectives(schedule, layout, /*replicas=*/4).bytes_received,
              4 * 6 * layout.total_shard_elements() / 4);
  }
}

}  // namespace
}  // namespace sotto::layout
