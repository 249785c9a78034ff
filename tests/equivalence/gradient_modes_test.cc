// Every gradient mode against a loop over examples in float64.
#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_gpt2.h"
#include "tests/equivalence/mode_run.h"

namespace sotto::equivalence {
namespace {

struct ModeCase {
  std::string name;
  std::string mode;
  bool tied = true;
  int64_t examples = 6;
  int64_t tokens = 24;
  int64_t width = 32;
  bool mean_loss = true;
  int64_t head_chunk_bytes = int64_t{256} << 20;
};

std::vector<ModeCase> ModeCases() {
  std::vector<ModeCase> cases;
  for (const std::string mode : {"flash", "per_example"}) {
    const std::string prefix = mode == "flash" ? "Flash" : "PerExample";
    for (bool tied : {false, true}) {
      const std::string head = tied ? "Tied" : "Untied";
      cases.push_back({.name = prefix + head, .mode = mode, .tied = tied});
      cases.push_back(
          {.name = prefix + head + "SumLoss", .mode = mode, .tied = tied, .mean_loss = false});
      // 24 * 97 * 4 bytes an example: two examples at a time.
      cases.push_back({.name = prefix + head + "HeadInChunks",
                       .mode = mode,
                       .tied = tied,
                       .head_chunk_bytes = 20000});
      // More than one Gram tile, the direct form, an odd length.
      cases.push_back({.name = prefix + head + "Long",
                       .mode = mode,
                       .tied = tied,
                       .examples = 4,
                       .tokens = 161});
      // Gram form with several tiles: T well below d p / (d + p) of the wide layers.
      cases.push_back({.name = prefix + head + "Wide",
                       .mode = mode,
                       .tied = tied,
                       .examples = 2,
                       .tokens = 150,
                       .width = 512});
      cases.push_back(
          {.name = prefix + head + "OneExample", .mode = mode, .tied = tied, .examples = 1});
      cases.push_back(
          {.name = prefix + head + "OneToken", .mode = mode, .tied = tied, .tokens = 1});
    }
  }
  return cases;
}

// Keeps the bytes of a case out of messages.
void PrintTo(const ModeCase& c, std::ostream* out) { *out << c.name; }

class GradientModesTest : public ::testing::TestWithParam<ModeCase> {};

INSTANTIATE_TEST_SUITE_P(Cases, GradientModesTest, ::testing::ValuesIn(ModeCases()),
                         [](const auto& info) { return info.param.name; });

TestModel ModelOf(const ModeCase& c) {
  return MakeTestModel({.vocabulary_size = 97,
                        .width = c.width,
                        .layers = 2,
                        .heads = 4,
                        .max_length = std::max<int64_t>(2, c.tokens),
                        .tied_head = c.tied},
                       /*seed=*/7);
}

std::vector<ExampleGradient> Loop(const TestModel& model, const models::MicroBatch& batch,
                                  bool mean_loss) {
  std::vector<ExampleGradient> examples;
  for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) {
    examples.push_back(AutogradExample(model.description, model.parameters, batch.tokens_BT[b],
                                       batch.loss_mask_BT[b], mean_loss));
  }
  return examples;
}

// Half of the examples are clipped.
double MedianNorm(const std::vector<ExampleGradient>& examples) {
  std::vector<double> norms;
  for (const ExampleGradient& example : examples) norms.push_back(example.norm);
  std::sort(norms.begin(), norms.end());
  const size_t half = norms.size() / 2;
  const double median =
      norms.size() % 2 == 0 ? 0.5 * (norms[half - 1] + norms[half]) : 0.5 * norms[half];
  return median > 0 ? median : 1;
}

TEST_P(GradientModesTest, NormsAndClippedSumsEqualTheFloat64Loop) {
  const ModeCase& c = GetParam();
  const TestModel model = ModelOf(c);
  const models::MicroBatch batch = MakeMicroBatch(c.examples, c.tokens, /*vocabulary=*/40, 3);
  const std::vector<ExampleGradient> expected = Loop(model, batch, c.mean_loss);
  const double clip_norm = MedianNorm(expected);
  ModeRun run(model,
              {.mode = c.mode,
               .applied_clip_norm = clip_norm,
               .model = {.loss_reduction = c.mean_loss ? models::LossReduction::kMean
                                                       : models::LossReduction::kSum,
                         .head_chunk_bytes = c.head_chunk_bytes}},
              c.examples);
  run.Run(batch);

  double largest = 0;
  for (const ExampleGradient& example : expected) largest = std::max(largest, example.norm);
  for (int64_t b = 0; b < c.examples; ++b) {
    EXPECT_NEAR(run.losses_B()[b].item<double>(), expected[b].loss, 1e-5 * (1 + expected[b].loss));
    EXPECT_NEAR(std::sqrt(run.norm_sq_B()[b].item<double>()), expected[b].norm,
                1e-5 * expected[b].norm + 1e-7 * largest)
        << "example " << b;
  }

  UnitTensors sums;
  double whole_sq = 0;
  for (size_t unit = 0; unit < model.parameters.size(); ++unit) {
    sums.emplace_back();
    for (size_t i = 0; i < model.parameters[unit].size(); ++i) {
      at::Tensor sum = at::zeros(model.parameters[unit][i].sizes(), at::kDouble);
      for (const ExampleGradient& example : expected) {
        const double factor = example.norm > clip_norm ? clip_norm / example.norm : 1;
        sum.add_(example.gradients[unit][i], factor);
      }
      whole_sq += sum.pow(2).sum().item<double>();
      sums.back().push_back(sum);
    }
  }
  for (size_t unit = 0; unit < sums.size(); ++unit) {
    for (size_t i = 0; i < sums[unit].size(); ++i) {
      const double difference =
          run.gradients()[unit][i].to(at::kDouble).sub(sums[unit][i]).norm().item<double>();
      EXPECT_LE(difference, 1e-5 * sums[unit][i].norm().item<double>() + 1e-6 * std::sqrt(whole_sq))
          << model.description.units[unit].parameters[i].name;
    }
  }
}

TEST(GradientModesTest, NoDpIsTheSumOfUnclippedGradients) {
  const ModeCase c = {.mode = "no_dp", .tied = false};
  const TestModel model = ModelOf(c);
  const models::MicroBatch batch = MakeMicroBatch(c.examples, c.tokens, 40, 3);
  ModeRun run(model, {.mode = "no_dp"}, c.examples);
  run.Run(batch);
  const std::vector<ExampleGradient> expected = Loop(model, batch, /*mean_loss=*/true);
  for (size_t unit = 0; unit < model.parameters.size(); ++unit) {
    for (size_t i = 0; i < model.parameters[unit].size(); ++i) {
      at::Tensor sum = at::zeros(model.parameters[unit][i].sizes(), at::kDouble);
      for (const ExampleGradient& example : expected) sum.add_(example.gradients[unit][i]);
      EXPECT_LE(run.gradients()[unit][i].to(at::kDouble).sub(sum).norm().item<double>(),
                1e-5 * sum.norm().item<double>() + 1e-6)
          << model.description.units[unit].parameters[i].name;
    }
  }
}

}  // namespace
}  // namespace sotto::equivalence
