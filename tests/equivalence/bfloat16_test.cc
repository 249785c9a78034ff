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
#include "tests/equivalence/example_gradient.h"
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

// The examples' losses and gradients in float64.
std::vector<ExampleGradient> ExamplesOf(const TestModel& model, const models::MicroBatch& batch,
                                        double rounding) {
  std::vector<ExampleGradient> examples;
  for (int64_t b = 0; b < kExamples; ++b) {
    examples.push_back(AutogradAllLayers(model.description, model.parameters, batch.tokens_BT[b],
                                         batch.loss_mask_BT[b], /*mean_loss=*/true, rounding));
  }
  return examples;
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return a.to(torch::kDouble).sub(b).norm().item<double>();
}

// The exact result, and the root mean square of what rounding does to it.
struct Expectation {
  TestModel model = MakeTestModel(models::DescribeAllLayers({}), /*stddev=*/0.3, /*seed=*/11);
  models::MicroBatch batch = MakeMicroBatch(kExamples, kTokens, /*vocabulary=*/8, /*seed=*/4);
  double clip_norm = 0;
  std::vector<ExampleGradient> exact;
  UnitTensors exact_sum;  // clipped
  std::vector<double> norm_deviations;
  std::vector<std::vector<double>> sum_deviations;
};

Expectation MakeExpectation() {
  torch::manual_seed(6);
  Expectation result;
  result.exact = ExamplesOf(result.model, result.batch, /*rounding=*/0);
  std::vector<double> norms;
  for (const ExampleGradient& example : result.exact) norms.push_back(example.norm);
  std::sort(norms.begin(), norms.end());
  result.clip_norm = norms[kExamples / 2];
  result.exact_sum = ClippedSum(result.exact, result.clip_norm);
  result.norm_deviations.resize(kExamples);
  for (const auto& unit : result.exact_sum) result.sum_deviations.emplace_back(unit.size());
  for (int draw = 0; draw < kDraws; ++draw) {
    const std::vector<ExampleGradient> drawn = ExamplesOf(result.model, result.batch, kRoundoff);
    const UnitTensors drawn_sum = ClippedSum(drawn, result.clip_norm);
    for (int64_t b = 0; b < kExamples; ++b) {
      result.norm_deviations[b] += std::pow(drawn[b].norm - result.exact[b].norm, 2) / kDraws;
    }
    for (size_t unit = 0; unit < drawn_sum.size(); ++unit) {
      for (size_t i = 0; i < drawn_sum[unit].size(); ++i) {
        result.sum_deviations[unit][i] +=
            std::pow(Distance(drawn_sum[unit][i], result.exact_sum[unit][i]), 2) / kDraws;
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
    const double exact = expected.exact[b].norm;
    EXPECT_NEAR(norm, exact, kDeviations * expected.norm_deviations[b]) << "example " << b;
    largest_error = std::max(largest_error, std::fabs(norm - exact) / exact);
  }
  // Nothing near float32's 1e-7: it was bfloat16 that ran.
  EXPECT_GT(largest_error, 1e-5);
  for (size_t unit = 0; unit < expected.exact_sum.size(); ++unit) {
    const layout::UnitDescription& description = expected.model.description.units[unit];
    for (size_t i = 0; i < expected.exact_sum[unit].size(); ++i) {
      const layout::ParameterDescription& parameter = description.parameters[i];
      ASSERT_EQ(run.gradients()[unit][i].defined(), parameter.trainable);
      if (!parameter.trainable) continue;
      EXPECT_LE(Distance(run.gradients()[unit][i], expected.exact_sum[unit][i]),
                kDeviations * expected.sum_deviations[unit][i])
          << description.name << "/" << parameter.name;
    }
  }
}

// Whatever bfloat16 makes of an example, what is added for it has the norm that was measured: both
// come from the same rounded values, in float32.
TEST_P(Bfloat16Test, AnExampleIsClippedToTheNorm) {
  const Expectation& expected = Expected();
  for (int64_t b = 0; b < kExamples; ++b) {
    const double clip_norm = 0.5 * expected.exact[b].norm;
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
