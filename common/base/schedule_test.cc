#include "common/base/schedule.h"

#include "gtest/gtest.h"

namespace sotto {
namespace {

TEST(ScheduleTest, EveryShapeStartsAtItsFirstValue) {
  for (const Schedule::Shape shape : {Schedule::Shape::kConstant, Schedule::Shape::kLinear,
                                      Schedule::Shape::kCosine, Schedule::Shape::kStep}) {
    const Schedule schedule{
        .shape = shape, .total_steps = 7, .final_fraction = 0.5, .every_steps = 2, .factor = 0.5};
    EXPECT_EQ(schedule.FractionAt(0), 1);
  }
}

TEST(ScheduleTest, ConstantStays) { EXPECT_EQ(Schedule().FractionAt(1000), 1); }

TEST(ScheduleTest, LinearReachesItsFinalFractionAtTheLastStep) {
  const Schedule schedule{
      .shape = Schedule::Shape::kLinear, .total_steps = 11, .final_fraction = 0.2};
  EXPECT_DOUBLE_EQ(schedule.FractionAt(5), 0.6);
  EXPECT_DOUBLE_EQ(schedule.FractionAt(10), 0.2);
  EXPECT_DOUBLE_EQ(schedule.FractionAt(99), 0.2);
}

TEST(ScheduleTest, CosineIsHalfWayInTheMiddle) {
  const Schedule schedule{
      .shape = Schedule::Shape::kCosine, .total_steps = 11, .final_fraction = 0.2};
  EXPECT_DOUBLE_EQ(schedule.FractionAt(5), 0.6);
  EXPECT_GT(schedule.FractionAt(2), 0.8);  // slower than linear at first
  EXPECT_DOUBLE_EQ(schedule.FractionAt(10), 0.2);
}

TEST(ScheduleTest, StepMultipliesAfterEachPeriod) {
  const Schedule schedule{.shape = Schedule::Shape::kStep, .every_steps = 3, .factor = 0.5};
  EXPECT_EQ(schedule.FractionAt(2), 1);
  EXPECT_EQ(schedule.FractionAt(3), 0.5);
  EXPECT_EQ(schedule.FractionAt(6), 0.25);
}

TEST(ScheduleTest, OneStepJobsHaveAValue) {
  for (const Schedule::Shape shape : {Schedule::Shape::kLinear, Schedule::Shape::kCosine}) {
    EXPECT_EQ((Schedule{.shape = shape, .total_steps = 1}.FractionAt(0)), 1);
  }
}

}  // namespace
}  // namespace sotto
