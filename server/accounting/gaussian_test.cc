#include "server/accounting/gaussian.h"

#include <cmath>
#include <limits>
#include <vector>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "server/accounting/calibration.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/rdp.h"

namespace sotto::accounting {
namespace {

// delta(epsilon) of N(mu, 1) against N(0, 1) from its definition, by Simpson's rule: the integral
// of max(0, p - e^epsilon q).
double DeltaByQuadrature(double mu, double epsilon) {
  const double threshold = epsilon / mu + mu / 2;  // p > e^epsilon q beyond it
  constexpr int kPieces = 200000;
  const double step = 12.0 / kPieces;
  const auto integrand = [&](double x) {
    const double p = std::exp(-0.5 * (x - mu) * (x - mu));
    return (p - std::exp(epsilon - 0.5 * x * x)) / std::sqrt(2 * M_PI);
  };
  double sum = integrand(threshold) + integrand(threshold + 12);
  for (int i = 1; i < kPieces; ++i) sum += (i % 2 ? 4 : 2) * integrand(threshold + i * step);
  return sum * step / 3;
}

TEST(GaussianEpsilonTest, DeltaAtTheResultIsTheAskedOne) {
  for (double mu : {0.1, 0.5, 1.0, 3.0}) {
    for (double delta : {1e-3, 1e-5, 1e-9}) {
      const double epsilon = GaussianEpsilon(mu, delta);
      EXPECT_LE(DeltaByQuadrature(mu, epsilon), delta * (1 + 1e-7)) << mu << " " << delta;
      EXPECT_GE(DeltaByQuadrature(mu, epsilon * (1 - 1e-6)), delta) << mu << " " << delta;
    }
  }
}

TEST(GaussianEpsilonTest, IsZeroWhereDeltaPaysAndInfiniteForInfiniteMu) {
  EXPECT_EQ(GaussianEpsilon(0, 1e-5), 0);
  EXPECT_EQ(GaussianEpsilon(1e-6, 1e-5), 0);
  EXPECT_EQ(GaussianEpsilon(std::numeric_limits<double>::infinity(), 1e-5),
            std::numeric_limits<double>::infinity());
  // Far in the tail: the Renyi bound at its best order is close above.
  EXPECT_NEAR(GaussianEpsilon(400, 1e-6) / (400 * 400 / 2.0 + 400 * 4.75342), 1, 1e-3);
}

// An epoch of shuffled batches, a step on the whole data: no sampling.
TEST(EpsilonCurveTest, WithoutSamplingCompositionsAreOneGaussian) {
  const std::vector<StepMechanism> segments = {{1, 2.0}, {1, 1.5}, {1, 4.0}};
  const std::vector<int64_t> counts = {3, 1, 10};
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve curve, EpsilonCurve::Create(segments, counts, 1e-6));
  const double mu = std::sqrt(3 / 4.0 + 1 / 2.25 + 10 / 16.0);
  const EpsilonBound bound = curve.At(counts);
  EXPECT_EQ(bound.order, kExactGaussian);
  EXPECT_NEAR(DeltaByQuadrature(mu, bound.epsilon), 1e-6, 1e-6 * 1e-6);
}

TEST(EpsilonCurveTest, OneSampledSegmentKeepsTheExactBoundAway) {
  const std::vector<StepMechanism> segments = {{1, 2.0}, {0.5, 2.0}};
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve curve,
                       EpsilonCurve::Create(segments, std::vector<int64_t>{1, 1}, 1e-6));
  EXPECT_EQ(curve.At(std::vector<int64_t>{1, 0}).order, kExactGaussian);
  EXPECT_GT(curve.At(std::vector<int64_t>{1, 1}).order, 1);
}

// RDP of a sampled Gaussian at integer order 2 has a closed form: log(1 + q^2 (e^(1/s^2) - 1)).
TEST(EpsilonCurveTest, SegmentsAddTheirRdp) {
  const std::vector<StepMechanism> segments = {{0.1, 1.0}, {0.1, 0.7}};
  const std::vector<int64_t> counts = {100, 20};
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve curve, EpsilonCurve::Create(segments, counts, 1e-5));
  const auto rdp2 = [](double q, double s) { return std::log1p(q * q * std::expm1(1 / s / s)); };
  const double at_2 = 100 * rdp2(0.1, 1.0) + 20 * rdp2(0.1, 0.7) + std::log(0.5) - std::log(2e-5);
  EXPECT_LE(curve.At(counts).epsilon, at_2);
  // Every order bounds from above: none may be below what the curve says.
  double best = at_2;
  for (double order = 1.5; order < 20; order += 0.25) {
    const double rdp =
        100 * SampledGaussianRdp(0.1, 1.0, order) + 20 * SampledGaussianRdp(0.1, 0.7, order);
    best = std::min(best, EpsilonAtOrder(order, rdp, 1e-5));
  }
  EXPECT_NEAR(curve.At(counts).epsilon / best, 1, 2e-3);
  EXPECT_LE(curve.At(counts).epsilon, best);
  // More than of the quieter segment alone, less than if all steps had the less noise.
  EXPECT_GT(curve.At(counts).epsilon, curve.At(std::vector<int64_t>{120, 0}).epsilon);
  EXPECT_LT(curve.At(counts).epsilon, curve.At(std::vector<int64_t>{0, 120}).epsilon);
}

TEST(CalibrationTest, NoiseOfAScheduleIsSafeAndTight) {
  const std::vector<NoisePiece> pieces = {{1, 100}, {0.8, 100}, {0.5, 100}};
  const CalibrationTarget target{2, 1e-6, 0.02};
  ASSERT_OK_AND_ASSIGN(const double sigma, CalibrateNoiseMultiplier(target, pieces));
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve at, CurveOf(pieces, 0.02, sigma, 1e-6));
  EXPECT_LE(at.At(CompositionsOf(pieces)).epsilon, 2);
  ASSERT_OK_AND_ASSIGN(const EpsilonCurve below,
                       CurveOf(pieces, 0.02, sigma / (1 + 1.01e-6), 1e-6));
  EXPECT_GT(below.At(CompositionsOf(pieces)).epsilon, 2);
  ASSERT_OK_AND_ASSIGN(const double constant, CalibrateNoiseMultiplier(target, 300));
  EXPECT_GT(sigma, constant);
  EXPECT_LT(sigma, 2 * constant);
}

TEST(CalibrationTest, StepsOfAScheduleAreWithinTheTarget) {
  const auto pieces_of = [](int64_t steps) {
    return std::vector<NoisePiece>{{1, steps - steps / 2}, {0.8, steps / 2}};
  };
  const CalibrationTarget target{3, 1e-6, 0.03};
  ASSERT_OK_AND_ASSIGN(const int64_t steps, CalibrateSteps(target, 1.2, pieces_of, 1 << 20));
  const auto epsilon_of = [&](int64_t n) {
    const std::vector<NoisePiece> pieces = pieces_of(n);
    return CurveOf(pieces, 0.03, 1.2, 1e-6)->At(CompositionsOf(pieces)).epsilon;
  };
  EXPECT_GT(steps, 100);
  EXPECT_LE(epsilon_of(steps), 3);
  EXPECT_GT(epsilon_of(steps + 2), 3);
  ASSERT_OK_AND_ASSIGN(const int64_t most, CalibrateSteps(target, 1.2, pieces_of, 17));
  EXPECT_EQ(most, 17);
}

}  // namespace
}  // namespace sotto::accounting
