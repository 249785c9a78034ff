// The accountant against tests/golden/epsilon.json: values of other libraries and of 60-digit
// quadrature.
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/accounting/calibration.h"
#include "server/accounting/epsilon.h"
#include "server/accounting/epsilon_curve.h"
#include "server/accounting/joint_release.h"
#include "server/accounting/offline.h"
#include "server/accounting/orders.h"
#include "server/accounting/rdp.h"

namespace sotto::accounting {
namespace {

const nlohmann::json& Golden() {
  static const auto& golden =
      *new nlohmann::json(nlohmann::json::parse(std::ifstream("tests/golden/epsilon.json")));
  return golden;
}

double Relative(double value, double reference) { return std::abs(value / reference - 1); }

EpsilonQuestion QuestionOf(const nlohmann::json& row) {
  return {row.value("noise_multiplier", row.value("sigma", 0.0)),
          row.value("sampling_rate", row.value("q", 0.0)), row["steps"], row["delta"]};
}

TEST(GoldenTest, RdpOfOneStepEqualsQuadratureAtEveryOrder) {
  ASSERT_EQ(Golden()["rdp_orders"].size(), 20);
  for (const nlohmann::json& row : Golden()["rdp_orders"]) {
    const double order = row["order"];
    const double rdp = SampledGaussianRdp(row["q"], row["sigma"], order);
    EXPECT_LT(Relative(rdp, row["rdp_mpmath_quadrature"].get<double>()), 1e-12)
        << row << " gave " << rdp;
  }
}

TEST(GoldenTest, EpsilonIsNeverBelowTheReference) {
  ASSERT_GE(Golden()["reference"].size(), 35);
  for (const nlohmann::json& row : Golden()["reference"]) {
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer answer, AnswerEpsilon(QuestionOf(row)));
    EXPECT_GE(answer.epsilon, row["epsilon"].get<double>() - row["uncertainty"].get<double>())
        << row;
  }
}

TEST(GoldenTest, EpsilonIsNoLooserThanAnyValidRdpRow) {
  int rows = 0;
  for (const nlohmann::json& row : Golden()["cases"]) {
    if (row["accountant"] != "rdp") continue;
    if (row["verdict"].get<std::string>().rfind("ok", 0) != 0) continue;
    ++rows;
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer answer, AnswerEpsilon(QuestionOf(row)));
    // Where the best order is one of the library's, only rounding is between the two.
    EXPECT_LE(answer.epsilon, row["epsilon"].get<double>() * (1 + 1e-12)) << row;
  }
  EXPECT_GE(rows, 100);
}

TEST(GoldenTest, CalibratedNoiseIsSafeTightAndNoLargerThanTheLibraries) {
  int rows = 0;
  for (const nlohmann::json& row : Golden()["calibration"]) {
    if (row["accountant"] != "dp_accounting rdp") continue;
    ++rows;
    const double target = row["target_epsilon"];
    ASSERT_OK_AND_ASSIGN(const double sigma,
                         CalibrateNoiseMultiplier({target, row["delta"], row["q"]}, row["steps"]));
    EXPECT_LE(sigma, row["sigma"].get<double>() * (1 + 2e-6)) << row;
    EpsilonQuestion question = QuestionOf(row);
    question.noise_multiplier = sigma;
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer reached, AnswerEpsilon(question));
    EXPECT_LE(reached.epsilon, target);
    question.noise_multiplier = sigma / (1 + 1.01e-6);
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer less_noise, AnswerEpsilon(question));
    EXPECT_GT(less_noise.epsilon, target);
  }
  EXPECT_EQ(rows, 9);
}

TEST(GoldenTest, DifferentMechanismsComposeNoLooserThanTheLibrary) {
  for (const nlohmann::json& row : Golden()["heterogeneous"]) {
    const std::vector<double>& orders = DenseOrders();
    std::vector<double> total(orders.size(), 0);
    for (const nlohmann::json& segment : row["segments"]) {
      const std::vector<double> rdp =
          SampledGaussianRdp(segment["q"], segment["sigma"], absl::MakeConstSpan(orders));
      for (size_t i = 0; i < total.size(); ++i) total[i] += rdp[i] * segment["steps"].get<int>();
    }
    const double epsilon = EpsilonFromRdp(orders, total, row["delta"]).epsilon;
    EXPECT_LE(epsilon, row["epsilon_rdp"].get<double>() * (1 + 1e-9)) << row;
    EXPECT_GE(epsilon, row["prv_estimate"].get<double>()) << row;
  }
}

TEST(GoldenTest, JointReleaseOfGradientAndMetricsHasTheGoldenNoise) {
  ASSERT_EQ(Golden()["joint_gradient_and_metric_release"].size(), 6);
  for (const nlohmann::json& row : Golden()["joint_gradient_and_metric_release"]) {
    const double effective = row["sigma_effective"];
    const std::vector<double> metrics = row["sigma_metrics"];
    std::vector<double> all = metrics;
    all.push_back(row["sigma_gradient"]);
    EXPECT_LT(Relative(JointNoiseMultiplier(all), effective), 1e-14) << row;
    ASSERT_OK_AND_ASSIGN(const double gradient, GradientNoiseMultiplier(effective, metrics));
    EXPECT_LT(Relative(gradient, row["sigma_gradient"]), 1e-11) << row;
    ASSERT_OK_AND_ASSIGN(const EpsilonAnswer joint,
                         AnswerEpsilon({effective, row["q"], row["steps"], row["delta"]}));
    EXPECT_GE(joint.epsilon, row["epsilon_joint"].get<double>()) << row;
  }
}

}  // namespace
}  // namespace sotto::accounting
