#include "worker/optim/learning_rate_schedule.h"

#include "gtest/gtest.h"

namespace sotto::optim {
namespace {

TEST(LearningRateScheduleTest, ConstantStaysAtThePeak) {
  const LearningRateSchedule schedule({.peak = 0.5});
  EXPECT_EQ(schedule.At(0), 0.5);
  EXPECT_EQ(schedule.At(9), 0.5);
}

TEST(LearningRateScheduleTest, WarmupIsLinearAndReachesThePeak) {
  const LearningRateSchedule schedule({.peak = 1, .warmup_steps = 4});
  EXPECT_DOUBLE_EQ(schedule.At(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.At(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.At(4), 1);
}

TEST(LearningRateScheduleTest, DecayBeginsAfterTheWarmup) {
  const LearningRateSchedule schedule(
      {.peak = 2,
       .warmup_steps = 2,
       .decay = {.shape = Schedule::Shape::kCosine, .total_steps = 11, .final_fraction = 0.1}});
  EXPECT_DOUBLE_EQ(schedule.At(2), 2);
  EXPECT_NEAR(schedule.At(7), 0.2 + 1.8 * 0.5, 1e-12);  // half way
  EXPECT_NEAR(schedule.At(12), 0.2, 1e-12);
  EXPECT_NEAR(schedule.At(100), 0.2, 1e-12);
}

TEST(LearningRateScheduleTest, StepsCountFromTheEndOfTheWarmup) {
  const LearningRateSchedule schedule(
      {.peak = 2,
       .warmup_steps = 3,
       .decay = {.shape = Schedule::Shape::kStep, .every_steps = 2, .factor = 0.1}});
  EXPECT_DOUBLE_EQ(schedule.At(4), 2);
  EXPECT_DOUBLE_EQ(schedule.At(5), 0.2);
}

TEST(LearningRateScheduleTest, LinearDecayEndsAtItsFinalFraction) {
  const LearningRateSchedule schedule(
      {.peak = 2,
       .decay = {.shape = Schedule::Shape::kLinear, .total_steps = 5, .final_fraction = 0.5}});
  EXPECT_DOUBLE_EQ(schedule.At(2), 1.5);
  EXPECT_DOUBLE_EQ(schedule.At(4), 1);
}

}  // namespace
}  // namespace sotto::optim
