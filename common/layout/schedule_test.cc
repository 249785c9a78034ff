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

class ScheduleGridTest : public ::testing::TestWithParam<std::tuple<Kept, int, int, int>> {};

TEST_P(ScheduleGridTest, IsValidAndCountsEqualTheClosedForms) {
  const auto [kept, blocks, gathered_slots, micro_batches] = GetParam();
  const ScheduleOptions options = MakeOptions(blocks, kept, gathered_slots);
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule schedule, BuildSchedule(options, micro_batches));
  EXPECT_OK(CheckSchedule(schedule)) << PrintSchedule(schedule);
  CollectiveCounts counts = CountCollectives(schedule, MakeLayout(blocks, 4));
  counts.bytes_received = 0;
  EXPECT_EQ(counts, ExpectedCollectives(options, micro_batches)) << PrintSchedule(schedule);
}

INSTANTIATE_TEST_SUITE_P(
    Grid, ScheduleGridTest,
    ::testing::Combine(::testing::Values(Kept::kNothing, Kept::kActivations, Kept::kExampleGrads),
                       ::testing::Values(1, 2, 3, 4, 5, 7, 12), ::testing::Values(1, 2, 3, 4, 9),
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
  EXPECT_THAT(BuildSchedule(MakeOptions(2, Kept::kOutputGrads, 2), 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule(MakeOptions(2, Kept::kNothing, 0), 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule(MakeOptions(2, Kept::kNothing, 2), -1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(BuildSchedule({.stages = {0, 2, 1, 0}}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// Every single-line defect of a valid schedule must be found: each line removed, doubled, or
// exchanged with the next.
class DefectTest : public ::testing::TestWithParam<Kept> {};

TEST_P(DefectTest, ChecksFindARemovedOrDoubledLine) {
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule valid,
                       BuildSchedule(MakeOptions(4, GetParam(), 2), 2));
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
  ASSERT_OK_AND_ASSIGN(const ExecutionSchedule valid,
                       BuildSchedule(MakeOptions(4, GetParam(), 2), 1));
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

INSTANTIATE_TEST_SUITE_P(Kept, DefectTest,
                         ::testing::Values(Kept::kNothing, Kept::kActivations,
                                           Kept::kExampleGrads));

}  // namespace
}  // namespace sotto::layout
