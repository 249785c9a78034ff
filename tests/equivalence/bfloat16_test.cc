// Training in bfloat16: activations, weights and output gradients are rounded, norms and weight
// gradients are float32.
//
// What rounding does to a gradient is measured, not guessed: the float64 model is run kDraws times
// with every weight, value and gradient between layers off by up to a unit roundoff
// (AutogradAllLayers), which gives the standard deviation of each norm and of each tensor's clipped
// sum. Errors of roundings are smaller than those draws (uniform up to the roundoff, whatever the
// mantissa) and a result is a sum of thousands of them, so that it stays within kDeviations of
// them.
#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/equivalence/autograd_all_layers.h"
#include "tests/equivalence/mode_run.h"
#include "torch/torch.h"
#include "worker/models/testing/all_layers_model.h"

namespace sotto::equivalence {
namespace {

constexpr double kRoundoff = 0x1p-8;  // 8 significant bits
constexpr int kDraws = 30;
constexpr double kDeviations = 4;
constexpr int64_t kExamples = 5;
constexpr int64_t kTokens = 20;

struct Clipped {
  std::vector<double> norms;  // by example
  UnitTensors sums;           // undefined for frozen parameters
};

// Each example's norm and the clipped sum, in float64.
Clipped ClippedOf(const TestModel& model, const models::MicroBatch& batch, double clip_norm,
                  double rounding) {
  Clipped result;
  for (int64_t b = 0; b < kExamples; ++b) {
    const ExampleGradient example =
        AutogradAllLayers(model.description, model.parameters, batch.tokens_BT[b],
                          batch.loss_mask_BT[b], /*mean_loss=*/true, rounding);
    result.norms.push_back(example.norm);
    const double factor = std::min(1.0, clip_norm / example.norm);
    if (b == 0) result.sums.resize(example.gradients.size());
    for (size_t unit = 0; unit < example.gradients.size(); ++unit) {
      if (b == 0) result.sums[unit].resize(example.gradients[unit].size());
      for (size_t i = 0; i < example.gradients[unit].size(); ++i) {
        const at::Tensor& gradient = example.gradients[unit][i];
        at::Tensor& sum = result.sums[unit][i];
        if (!gradient.defined()) continue;
        sum = sum.defined() ? sum + factor * gradient : factor * gradient;
      }
    }
  }
  return result;
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return a.to(torch::kDouble).sub(b).norm().item<double>();
}

// The exact result, and the root mean square of what rounding does to it.
struct Expectation {
  TestModel model = MakeTestModel(models::DescribeAllLayers({}), /*stddev=*/0.3, /*seed=*/11);
  models::MicroBatch batch = MakeMicroBatch(kExamples, kTokens, /*vocabulary=*/8, /*seed=*/4);
  double clip_norm = 0;
  Clipped exact;
  std::vector<double> norm_deviations;
  std::vector<std::vector<double>> sum_deviations;
};

Expectation MakeExpectation() {
  torch::manual_seed(6);
  Expectation result;
  std::vector<double> norms = ClippedOf(result.model, result.batch, 1, 0).norms;
  std::sort(norms.begin(), norms.end());
  result.clip_norm = norms[kExamples / 2];
  result.exact = ClippedOf(result.model, result.batch, result.clip_norm, 0);
  result.norm_deviations.resize(kExamples);
  for (const auto& unit : result.exact.sums) result.sum_deviations.emplace_back(unit.size());
  for (int draw = 0; draw < kDraws; ++draw) {
    const Clipped drawn = ClippedOf(result.model, result.batch, result.clip_norm, kRoundoff);
    for (int64_t b = 0; b < kExamples; ++b) {
      result.norm_deviations[b] += std::pow(drawn.norms[b] - result.exact.norms[b], 2) / kDraws;
    }
    for (size_t unit = 0; unit < drawn.sums.size(); ++unit) {
      for (size_t i = 0; i < drawn.sums[unit].size(); ++i) {
        if (!drawn.sums[unit][i].defined()) continue;
        result.sum_deviations[unit][i] +=
            std::pow(Distance(drawn.sums[unit][i], result.exact.sums[unit][i]), 2) / kDraws;
      }
    }
  }
  for (double& value : result.norm_deviations) value = std::sqrt(value);
  for (std::vector<double>& unit : result.sum_deviations) {
    for (double& value : unit) value = std::sqrt(value);
  }
  return result;
}

const Expectation& Expected() {
  static const Expectation& expectation = *new Expectation(MakeExpectation());
  return expectation;
}

ModeRun MakeRun(const ClippingMode& mode, double clip_norm) {
  return ModeRun(Expected().model,
                 {.mode = mode.mode,
                  .deferred_norms = mode.deferred_norms,
                  .applied_clip_norm = clip_norm,
                  .compute_type = at::kBFloat16,
                  .make_model = models::MakeAllLayersModel},
                 kExamples);
}

class Bfloat16Test : public ::testing::TestWithParam<ClippingMode> {
 protected:
  // Tensors of a few hundred elements: threads would only wait for each other.
  static void SetUpTestSuite() { torch::set_num_threads(1); }
};

INSTANTIATE_TEST_SUITE_P(Modes, Bfloat16Test, ::testing::ValuesIn(ClippingModes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Bfloat16Test, NormsAndClippedSumsStayWithinTheirRounding) {
  const Expectation& expected = Expected();
  ModeRun run = MakeRun(GetParam(), expected.clip_norm);
  run.Run(expected.batch);
  double largest_error = 0;
  for (int64_t b = 0; b < kExamples; ++b) {
    const double norm = std::sqrt(run.norm_sq_B()[b].item<double>());
    EXPECT_NEAR(norm, expected.exact.norms[b], kDeviations * expected.norm_deviations[b])
        << "example " << b;
    largest_error = std::max(largest_error,
                             std::fabs(norm - expected.exact.norms[b]) / expected.exact.norms[b]);
  }
  // Nothing near float32's 1e-7: it was bfloat16 that ran.
  EXPECT_GT(largest_error, 1e-5);
  for (size_t unit = 0; unit < expected.exact.sums.size(); ++unit) {
    for (size_t i = 0; i < expected.exact.sums[unit].size(); ++i) {
      const at::Tensor& sum = expected.exact.sums[unit][i];
      ASSERT_EQ(run.gradients()[unit][i].defined(), sum.defined());
      if (!sum.defined()) continue;
      EXPECT_LE(Distance(run.gradients()[unit][i], sum),
                kDeviations * expected.sum_deviations[unit][i])
          << expected.model.description.units[unit].name << "/"
          << expected.model.description.units[unit].parameters[i].name;
    }
  }
}

// Whatever bfloat16 makes of an example, what is added for it has the norm that was measured: both
// come from the same rounded values, in float32.
TEST_P(Bfloat16Test, AnExampleIsClippedToTheNorm) {
  const Expectation& expected = Expected();
  for (int64_t b = 0; b < kExamples; ++b) {
    const double clip_norm = 0.5 * expected.exact.norms[b];
    if (clip_norm == 0) continue;
    ModeRun run = MakeRun(GetParam(), clip_norm);
    run.Run(SelectFrom(expected.batch, {b}));
    double sum_sq = 0;
    for (const at::Tensor& flat : run.flat_gradients()) {
      sum_sq += flat.to(torch::kDouble).pow(2).sum().item<double>();
    }
    EXPECT_LE(std::sqrt(sum_sq), clip_norm * (1 + 0x1p-14)) << "example " << b;
    EXPECT_GE(std::sqrt(sum_sq), clip_norm * 0.999) << "example " << b;
  }
}

}  // namespace
}  // namespace sotto::equivalence
