// What no schedule is built of, and what the checker finds in schedules that were changed.
#include <tuple>

#include "common/base/status_matchers.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/schedule_cases.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::HasSubstr;

TEST(ScheduleOptionsTest, RefusesWhatItCannotBuild) {
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
  const ScheduleOptions valid = MakeOptions(2, Kept::kActivations, 2);
  ScheduleOptions deep = valid;
  deep.prefetch_depth = 2;
  ScheduleOptions kept_root = valid;
  kept_root.kept_gathered = {true, false};
  ScheduleOptions kept_twice = valid;
  kept_twice.kept_gathered = {false, true, false};
  kept_twice.strategy = Strategy::kShardGradOp;
  ScheduleOptions half_kept = valid;
  half_kept.block_units = {{0}, {1, 2}, {3}};
  half_kept.kept_gathered = {false, true, false, false};
  ScheduleOptions jumps = valid;
  jumps.block_units = {{0}, {2}, {1}};
  ScheduleOptions split_root = valid;
  split_root.block_units = {{0, 1}, {2}, {3}};
  ScheduleOptions checkpointed_root = valid;
  checkpointed_root.checkpointed_stages = {true, true, true, false};
  ScheduleOptions holds_inputs = valid;
  holds_inputs.checkpointed_stages = {false, true, false, false};
  holds_inputs.deferred_norms = true;
  ScheduleOptions keeps_books = holds_inputs;
  keeps_books.deferred_norms = false;
  EXPECT_OK(BuildSchedule(keeps_books, 1));
  keeps_books.kept = Kept::kOutputGrads;
  for (const ScheduleOptions& options : {deep, kept_root, kept_twice, half_kept, jumps, split_root,
                                         checkpointed_root, holds_inputs, keeps_books}) {
    EXPECT_THAT(BuildSchedule(options, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(BuildSchedule({.stages = {0, 2, 1, 0}}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// Every single-line defect of a valid schedule must be found: each line removed, doubled, or
// exchanged with the next.
class DefectTest : public ::testing::TestWithParam<std::tuple<Strategy, Kept>> {
 protected:
  static ScheduleOptions Options() {
    const auto [strategy, kept] = GetParam();
    ScheduleOptions options = MakeOptions(4, kept, 2);
    options.strategy = strategy;
    options.block_units = {{0}, {1, 2}, {3}, {3}, {4}};
    options.deferred_norms = kept == Kept::kActivations;
    options.trainable_stages = {false, true, true, false, true, true};
    if (!HasSlotPerUnit(strategy)) options.kept_gathered = {false, false, false, true, true};
    if (kept == Kept::kNothing) {
      options.checkpointed_stages = {false, true, true, false, true, false};
    }
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
