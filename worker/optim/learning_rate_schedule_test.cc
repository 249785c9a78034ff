#include "worker/optim/learning_rate_schedule.h"

#include "gtest/gtest.h"

namespace sotto::optim {
namespace {

TEST(LearningRateScheduleTest, ConstantStaysAtThePeak) {
  const LearningRateSchedule schedule({.peak = 0.5, .total_steps = 10});
  EXPECT_EQ(schedule.At(0), 0.5);
  EXPECT_EQ(schedule.At(9), 0.5);
}

TEST(LearningRateScheduleTest, WarmupIsLinearAndReachesThePeak) {
  const LearningRateSchedule schedule({.peak = 1, .warmup_steps = 4, .total_steps = 10});
  EXPECT_DOUBLE_EQ(schedule.At(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.At(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.At(4), 1);
}

TEST(LearningRateScheduleTest, CosineEndsAtItsFinalFraction) {
  const LearningRateSchedule schedule({.peak = 2,
                                       .warmup_steps = 2,
                                       .total_steps = 13,
                                       .decay = LearningRateSchedule::Decay::kCosine,
                                       .final_fraction = 0.1});
  EXPECT_DOUBLE_EQ(schedule.At(2), 2);
  EXPECT_NEAR(schedule.At(7), 0.2 + 1.8 * 0.5, 1e-12);  // half way
  EXPECT_NEAR(schedule.At(12), 0.2, 1e-12);
  EXPECT_NEAR(schedule.At(100), 0.2, 1e-12);
}

TEST(LearningRateScheduleTest, OneStepJobsHaveARate) {
  const LearningRateSchedule schedule(
      {.peak = 2, .total_steps = 1, .decay = LearningRateSchedule::Decay::kCosine});
  EXPECT_DOUBLE_EQ(schedule.At(0), 2);
}

}  // namespace
}  // namespace sotto::optim
