#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/gpt2_description.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::HasSubstr;

ScheduleOptions MakeOptions(int blocks, Kept kept, int gathered_slots, int gradient_slots = 2) {
  ScheduleOptions options{
      .kept = kept, .gathered_slots = gathered_slots, .gradient_slots = gradient_slots};
  options.stages.push_back(0);
  for (int i = 1; i <= blocks; ++i) options.stages.push_back(i);
  options.stages.push_back(0);
  return options;
}

FlatLayout MakeLayout(int blocks, int world_size) {
  return *FlatLayout::Create(
      *MakeGpt2Description(
          {.vocabulary_size = 11, .width = 4, .layers = blocks, .heads = 2, .max_length = 8}),
      world_size);
}

constexpr Kept kAllKept[] = {Kept::kNothing, Kept::kActivations, Kept::kOutputGrads,
                             Kept::kExampleGrads};
constexpr Strategy kAllStrategies[] = {Strategy::kFullShard, Strategy::kShardGradOp,
                                       Strategy::kHybridShard, Strategy::kNoShard};

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
          operation.unit == 0 ? options.trainable_stages.front() || options.trainable_stages.back()
                              : options.trainable_stages[operation.unit];
      EXPECT_TRUE(trainable) << PrintSchedule(schedule);
    }
  }
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
            "0 FORWARD stage 0 unit 0 slot 0\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 1 unit 1 slot 1\n"
            "0 FORWARD stage 2 unit 2 slot 2\n"
            "0 FORWARD stage 3 unit 0 slot 0\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 3 unit 0 slot 0 gradient 0 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 unit 2 slot 2 gradient 1 cleared\n"
            "0 REDUCE unit 2 gradient 1\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 1 unit 1 slot 1 gradient 2 cleared\n"
            "0 REDUCE unit 1 gradient 2\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 0 unit 0 slot 0 gradient 0\n"
            "0 REDUCE unit 0 gradient 0\n"
            "0 RESHARD unit 2 slot 2\n"
            "0 RESHARD unit 1 slot 1\n"
            "0 RESHARD unit 0 slot 0\n");
}

TEST(ScheduleTest, HeldGradientsAreFoldedUnitByUnitAfterTheCoefficients) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(1, Kept::kExampleGrads, 1), 1));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 BACKWARD_INPUT+NORM stage 0 unit 0 slot 0\n"
                                                 "0 COEFFICIENTS\n"
                                                 "0 FOLD unit 1 gradient 1 cleared\n"
                                                 "0 REDUCE unit 1 gradient 1\n"
                                                 "0 FOLD unit 0 gradient 0 cleared\n"
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

TEST(ScheduleTest, RefusesWhatItCannotBuild) {
  ScheduleOptions frozen = MakeOptions(2, Kept::kNothing, 2);
  frozen.trainable_stages = {false, false, false, false};
  EXPECT_THAT(BuildSchedule(frozen, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("trainable")));
  frozen.forward_only = true;
  EXPECT_OK(BuildSchedule(frozen, 1));
  frozen.trainable_stages = {true};
  EXPECT_THAT(BuildSchedule(frozen, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  ScheduleOptions deferred = MakeOptions(2, Kept::kNothing, 2);
  deferred.deferred_norms = true;
  EXPECT_THAT(BuildSchedule(deferred, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  ScheduleOptions held = MakeOptions(2, Kept::kOutputGrads, 2);
  held.held_work = {Operation::kFold};
  EXPECT_THAT(BuildSchedule(held, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule(MakeOptions(2, Kept::kNothing, 0), 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule(MakeOptions(2, Kept::kNothing, 2), -1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule({.stages = {0, 2, 1, 0}}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ScheduleTest, BookKeepingFormsWeightGradientsWithoutASecondPass) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule,
                       BuildSchedule(MakeOptions(1, Kept::kOutputGrads, 1), 1));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 BACKWARD_INPUT+NORM stage 0 unit 0 slot 0\n"
                                                 "0 COEFFICIENTS\n"
                                                 "0 WEIGHT_GRAD unit 1 gradient 1 cleared\n"
                                                 "0 REDUCE unit 1 gradient 1\n"
                                                 "0 WEIGHT_GRAD unit 0 slot 0 gradient 0 cleared\n"
                                                 "0 REDUCE unit 0 gradient 0\n"));
}

TEST(ScheduleTest, OnePassMixesBothKindsOfHeldGradients) {
  ScheduleOptions options = MakeOptions(2, Kept::kExampleGrads, 1);
  options.held_work = {Operation::kWeightGrad, Operation::kFold,
                       Operation::kFold | Operation::kWeightGrad};
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 2));
  EXPECT_OK(CheckSchedule(schedule));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 WEIGHT_GRAD+FOLD unit 2 gradient 1 cleared\n"));
  EXPECT_THAT(PrintSchedule(schedule), HasSubstr("0 FOLD unit 1 gradient 2 cleared\n"));
}

TEST(ScheduleTest, DeferredNormsComeAfterTheWholeBackward) {
  ScheduleOptions options = MakeOptions(1, Kept::kActivations, 1);
  options.deferred_norms = true;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 1));
  EXPECT_THAT(PrintSchedule(schedule),
              HasSubstr("0 BACKWARD_INPUT stage 2 unit 0 slot 0\n"
                        "0 BACKWARD_INPUT stage 1 unit 1 slot 1\n"
                        "0 BACKWARD_INPUT stage 0 unit 0 slot 0\n"
                        "0 NORM\n"
                        "0 COEFFICIENTS\n"
                        "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 unit 0 slot 0 gradient 0 cleared\n"));
}

TEST(ScheduleTest, ShardGradOpGathersOnceAndReducesOnce) {
  ScheduleOptions options = MakeOptions(2, Kept::kNothing, 1);
  options.strategy = Strategy::kShardGradOp;
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, 2));
  EXPECT_EQ(PrintSchedule(schedule),
            "0 GATHER unit 0 slot 0\n"
            "0 GATHER unit 1 slot 1\n"
            "0 FORWARD stage 0 unit 0 slot 0\n"
            "0 GATHER unit 2 slot 2\n"
            "0 FORWARD stage 1 unit 1 slot 1\n"
            "0 FORWARD stage 2 unit 2 slot 2\n"
            "0 FORWARD stage 3 unit 0 slot 0\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 3 unit 0 slot 0 gradient 0 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 2 unit 2 slot 2 gradient 2 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 1 unit 1 slot 1 gradient 1 cleared\n"
            "0 BACKWARD_INPUT+WEIGHT_GRAD stage 0 unit 0 slot 0 gradient 0\n"
            "1 FORWARD stage 0 unit 0 slot 0\n"
            "1 FORWARD stage 1 unit 1 slot 1\n"
            "1 FORWARD stage 2 unit 2 slot 2\n"
            "1 FORWARD stage 3 unit 0 slot 0\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 3 unit 0 slot 0 gradient 0\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 2 unit 2 slot 2 gradient 2\n"
            "1 REDUCE unit 2 gradient 2\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 1 unit 1 slot 1 gradient 1\n"
            "1 REDUCE unit 1 gradient 1\n"
            "1 BACKWARD_INPUT+WEIGHT_GRAD stage 0 unit 0 slot 0 gradient 0\n"
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

// Every single-line defect of a valid schedule must be found: each line removed, doubled, or
// exchanged with the next.
class DefectTest : public ::testing::TestWithParam<std::tuple<Strategy, Kept>> {
 protected:
  static ScheduleOptions Options() {
    const auto [strategy, kept] = GetParam();
    ScheduleOptions options = MakeOptions(4, kept, 2);
    options.strategy = strategy;
    options.deferred_norms = kept == Kept::kActivations;
    options.trainable_stages = {false, true, true, false, true, true};
    return options;
  }
};

TEST_P(DefectTest, ChecksFindARemovedOrDoubledLine) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule valid, BuildSchedule(Options(), 2));
  for (size_t i = 0; i < valid.operations.size(); ++i) {
    ExecutionSchedule removed = valid;
    removed.operations.erase(removed.operations.begin() + i);
    EXPECT_THAT(CheckSchedule(removed), StatusIs(absl::StatusCode::kInternal)) << "line " << i + 1;
    ExecutionSchedule doubled = valid;
    doubled.operations.insert(doubled.operations.begin() + i, valid.operations[i]);
    EXPECT_THAT(CheckSchedule(doubled), StatusIs(absl::StatusCode::kInternal)) << "line " << i + 1;
  }
}

TEST_P(DefectTest, ChecksFindAWrongSlot) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule valid, BuildSchedule(Options(), 1));
  for (size_t i = 0; i < valid.operations.size(); ++i) {
    for (int ScheduledOperation::*member :
         {&ScheduledOperation::slot, &ScheduledOperation::gradient_slot}) {
      if (valid.operations[i].*member < 0) continue;
      ExecutionSchedule wrong = valid;
      wrong.operations[i].*member += 7;
      EXPECT_THAT(CheckSchedule(wrong), StatusIs(absl::StatusCode::kInternal)) << "line " << i + 1;
    }
  }
}

TEST_P(DefectTest, ChecksFindReplicasThatAreNotSummed) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule valid, BuildSchedule(Options(), 2));
  for (size_t i = 0; i < valid.operations.size(); ++i) {
    if (!valid.operations[i].operations.Has(Operation::kReduce)) continue;
    ExecutionSchedule wrong = valid;
    wrong.operations[i].sums_replicas = !wrong.operations[i].sums_replicas;
    EXPECT_THAT(CheckSchedule(wrong), StatusIs(absl::StatusCode::kInternal)) << "line " << i + 1;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DefectTest,
                         ::testing::Combine(::testing::ValuesIn(kAllStrategies),
                                            ::testing::ValuesIn(kAllKept)));

}  // namespace
}  // namespace sotto::layout
