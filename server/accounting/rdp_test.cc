#include "server/accounting/rdp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "server/accounting/orders.h"

namespace sotto::accounting {
namespace {

TEST(SampledGaussianRdpTest, FullSamplingIsThePlainGaussian) {
  for (double order : DenseOrders()) {
    EXPECT_DOUBLE_EQ(SampledGaussianRdp(1, 3, order), order / 18) << order;
  }
}

TEST(SampledGaussianRdpTest, ExtremesAreZeroAndInfinity) {
  EXPECT_EQ(SampledGaussianRdp(0, 1, 2), 0);
  EXPECT_EQ(SampledGaussianRdp(0.1, 0, 2), std::numeric_limits<double>::infinity());
  EXPECT_EQ(SampledGaussianRdp(0.1, 1e-200, 1.5), std::numeric_limits<double>::infinity());
}

// The two methods are independent: quadrature just beside an integer against the closed sum.
TEST(SampledGaussianRdpTest, QuadratureMeetsTheIntegerSum) {
  for (double q : {1e-6, 1e-3, 0.05, 0.5, 0.999}) {
    for (double s : {0.1, 0.5, 1.0, 4.0, 100.0}) {
      for (double order : {2.0, 3.0, 7.0, 11.0, 40.0}) {
        const double step = 1e-4;
        const double at = SampledGaussianRdp(q, s, order);
        // Simpson-like interpolation from four neighbours: error of order step^4.
        const double between =
            (4 * (SampledGaussianRdp(q, s, order - step) + SampledGaussianRdp(q, s, order + step)) -
             (SampledGaussianRdp(q, s, order - 2 * step) +
              SampledGaussianRdp(q, s, order + 2 * step))) /
            6;
        EXPECT_NEAR(between / at, 1, 1e-10) << "q " << q << " s " << s << " order " << order;
      }
    }
  }
}

TEST(SampledGaussianRdpTest, GrowsWithOrderAndSamplingRateAndFallsWithNoise) {
  for (double q : {1e-5, 0.01, 0.3}) {
    for (double s : {0.05, 0.7, 2.0, 30.0}) {
      const std::vector<double> rdp = SampledGaussianRdp(q, s, DenseOrders());
      const std::vector<double> more_data = SampledGaussianRdp(1.5 * q, s, DenseOrders());
      const std::vector<double> more_noise = SampledGaussianRdp(q, 1.01 * s, DenseOrders());
      for (size_t i = 0; i < rdp.size(); ++i) {
        EXPECT_GT(rdp[i], 0);
        if (i > 0) {
          EXPECT_GE(rdp[i], rdp[i - 1] * (1 - 1e-12)) << DenseOrders()[i];
        }
        EXPECT_GT(more_data[i], rdp[i]) << DenseOrders()[i];
        EXPECT_LT(more_noise[i], rdp[i]) << DenseOrders()[i];
        EXPECT_LE(rdp[i], DenseOrders()[i] / (2 * s * s) * (1 + 1e-12)) << DenseOrders()[i];
      }
    }
  }
}

TEST(SampledGaussianRdpTest, TinyRatesKeepTheirRelativePrecision) {
  // For q -> 0 at order 2: A - 1 = q^2 expm1(1/s^2), exactly.
  for (double q : {1e-3, 1e-6, 1e-9}) {
    EXPECT_NEAR(SampledGaussianRdp(q, 1, 2) / std::log1p(q * q * std::expm1(1.0)), 1, 1e-13) << q;
  }
}

TEST(SampledGaussianRdpTest, BelowTheSmallestNoiseFractionalOrdersAreBounds) {
  EXPECT_DOUBLE_EQ(SampledGaussianRdp(0.01, 0.01, 1.5), 1.5 / (2 * 0.01 * 0.01));
  EXPECT_LE(SampledGaussianRdp(0.01, 0.02, 1.5), 1.5 / (2 * 0.02 * 0.02));
}

TEST(OrdersTest, AreAscendingAndHoldTheLibrariesDefaults) {
  const std::vector<double>& orders = DenseOrders();
  for (size_t i = 1; i < orders.size(); ++i) EXPECT_LT(orders[i - 1], orders[i]);
  EXPECT_EQ(orders.front(), 1.01);
  EXPECT_EQ(orders.back(), 4096);
  std::vector<double> wanted = {128, 256, 512, 1024};
  for (int i = 1; i < 100; ++i) wanted.push_back(1 + i / 10.0);
  for (int i = 11; i < 64; ++i) wanted.push_back(i);
  for (double order : wanted) {
    EXPECT_TRUE(std::any_of(orders.begin(), orders.end(), [&](double o) {
      return std::abs(o - order) < 1e-12;
    })) << order;
  }
  for (size_t i = 1; i < kBudgetOrders.size(); ++i) {
    EXPECT_LT(kBudgetOrders[i - 1], kBudgetOrders[i]);
  }
}

}  // namespace
}  // namespace sotto::accounting
