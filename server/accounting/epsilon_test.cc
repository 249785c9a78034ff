#include "server/accounting/epsilon.h"

#include <cmath>
#include <limits>
#include <vector>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "server/accounting/calibration.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"
#include "server/accounting/offline.h"

namespace sotto::accounting {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(EpsilonAtOrderTest, IsTheConversionOfCanonneKamathSteinke) {
  // rdp 1 at order 3, delta 1e-5: 1 + log(2/3) - log(3e-5)/2.
  EXPECT_DOUBLE_EQ(EpsilonAtOrder(3, 1, 1e-5), 1 + std::log(2.0 / 3) - std::log(3e-5) / 2);
}

TEST(EpsilonAtOrderTest, IsZeroWhenTheKlDivergenceIsBelowDelta) {
  const double delta = 1e-3;
  const double edge = -std::log1p(-delta * delta);
  EXPECT_EQ(EpsilonAtOrder(2, edge * (1 - 1e-6), delta), 0);
  EXPECT_GT(EpsilonAtOrder(2, edge * (1 + 1e-6), delta), 0);
}

TEST(EpsilonAtOrderTest, IsNeverNegativeAndInfiniteForInfiniteRdp) {
  EXPECT_EQ(EpsilonAtOrder(64, 1e-3, 0.5), 0);
  EXPECT_EQ(EpsilonAtOrder(2, std::numeric_limits<double>::infinity(), 0.5),
            std::numeric_limits<double>::infinity());
}

TEST(EpsilonFromRdpTest, TakesTheBestOrder) {
  const std::vector<double> orders = {2, 8, 64};
  const std::vector<double> rdp = {0.2, 0.8, 6.4};
  const EpsilonBound bound = EpsilonFromRdp(orders, rdp, 1e-5);
  EXPECT_EQ(bound.order, 8);
  EXPECT_EQ(bound.epsilon, EpsilonAtOrder(8, 0.8, 1e-5));
}

TEST(EpsilonCurveTest, RisesWithStepsAndMeetsTheOfflineAnswerAtThePlan) {
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve curve, EpsilonCurve::Create({0.03, 0.9}, 300, 1e-6));
  EXPECT_EQ(curve.At(0).epsilon, 0);
  for (int steps = 1; steps <= 400; ++steps) {
    EXPECT_GT(curve.At(steps).epsilon, curve.At(steps - 1).epsilon) << steps;
  }
  ASSERT_OK_AND_ASSIGN(const EpsilonAnswer answer, AnswerEpsilon({0.9, 0.03, 300, 1e-6}));
  EXPECT_EQ(curve.At(300).epsilon, answer.epsilon);
}

TEST(EpsilonCurveTest, StepsWithinIsTheLastStepThatFits) {
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve curve, EpsilonCurve::Create({0.03, 0.9}, 300, 1e-6));
  const int64_t steps = curve.StepsWithin(3);
  EXPECT_LE(curve.At(steps).epsilon, 3);
  EXPECT_GT(curve.At(steps + 1).epsilon, 3);
  EXPECT_EQ(curve.StepsWithin(1e-9), 0);
}

TEST(EpsilonCurveTest, NamesEveryValueOutOfRange) {
  EXPECT_THAT(EpsilonCurve::Create({0, -1}, 0, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("sampling_rate must be in (0, 1], but is 0"),
                             HasSubstr("noise_multiplier must be finite and positive, but is -1"),
                             HasSubstr("steps must be at least 1"),
                             HasSubstr("delta must be in (0, 1), but is 1"))));
  EXPECT_THAT(EpsilonCurve::Create({std::nan(""), std::nan("")}, 1, std::nan("")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("sampling_rate"), HasSubstr("noise_multiplier"),
                             HasSubstr("delta"))));
}

TEST(CalibrationTest, StepsAreTheMostThatFit) {
  ASSERT_OK_AND_ASSIGN(const int64_t steps, CalibrateSteps({3, 1e-6, 0.03}, 0.9));
  ASSERT_OK_AND_ASSIGN(const EpsilonAnswer within, AnswerEpsilon({0.9, 0.03, steps, 1e-6}));
  ASSERT_OK_AND_ASSIGN(const EpsilonAnswer beyond, AnswerEpsilon({0.9, 0.03, steps + 1, 1e-6}));
  EXPECT_LE(within.epsilon, 3);
  EXPECT_GT(beyond.epsilon, 3);
}

TEST(CalibrationTest, NoiseIsSafeAndTightOverAWideRange) {
  for (double epsilon : {0.05, 1.0, 8.0, 100.0}) {
    for (double q : {1e-5, 0.01, 1.0}) {
      for (int64_t steps : {int64_t{1}, int64_t{1000}}) {
        ASSERT_OK_AND_ASSIGN(const double sigma,
                             CalibrateNoiseMultiplier({epsilon, 1e-6, q}, steps));
        ASSERT_OK_AND_ASSIGN(const EpsilonAnswer at, AnswerEpsilon({sigma, q, steps, 1e-6}));
        EXPECT_LE(at.epsilon, epsilon);
        ASSERT_OK_AND_ASSIGN(const EpsilonAnswer below,
                             AnswerEpsilon({sigma / (1 + 1.01e-6), q, steps, 1e-6}));
        EXPECT_GT(below.epsilon, epsilon)
            << "epsilon " << epsilon << " q " << q << " steps " << steps;
      }
    }
  }
}

TEST(CalibrationTest, UnreachableTargetsSaySo) {
  EXPECT_THAT(CalibrateNoiseMultiplier({1e-7, 1e-9, 1}, 1000000),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("cannot be reached")));
  EXPECT_THAT(CalibrateSteps({0.1, 1e-6, 0.5}, 0.5),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("not even one step")));
  EXPECT_THAT(
      CalibrateNoiseMultiplier({-1, 2, 0}, 0),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("epsilon"), HasSubstr("delta"), HasSubstr("sampling_rate"))));
}

TEST(JointReleaseTest, MetricsThatCostTooMuchAreRefused) {
  EXPECT_THAT(GradientNoiseMultiplier(1, std::vector<double>{1.2, 1.2}),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("1.2, 1.2")));
  EXPECT_THAT(GradientNoiseMultiplier(1, {}), IsOkAndHolds(::testing::DoubleNear(1, 1e-11)));
}

}  // namespace
}  // namespace sotto::accounting
