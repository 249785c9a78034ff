// What one example can change, on the path that training takes: with the margin, summed in float32.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/mode_run.h"
#include "worker/dp/automatic_clipping.h"
#include "worker/dp/clipping_rule.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"

namespace sotto::equivalence {
namespace {

constexpr double kClipNorm = 0.25;
constexpr int64_t kVocabulary = 23;
constexpr int64_t kTokens = 9;

// C': what examples are clipped at in batches of at most `cap`.
double AppliedClipNorm(int64_t cap) { return kClipNorm * (1 - dp::RoundingMargin(cap)); }

struct Case {
  ClippingMode mode;
  bool tied = true;
};

// Keeps the bytes of a case out of messages.
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.mode.name << (c.tied ? "Tied" : "Untied");
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const ClippingMode& mode : ClippingModes()) {
    for (bool tied : {true, false}) cases.push_back({mode, tied});
  }
  return cases;
}

class SensitivityTest : public ::testing::TestWithParam<Case> {
 protected:
  // Tiny products: threads would only wait for each other.
  static void SetUpTestSuite() { at::set_num_threads(1); }
};

INSTANTIATE_TEST_SUITE_P(Modes, SensitivityTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return info.param.mode.name + (info.param.tied ? "Tied" : "Untied");
                         });

TestModel SmallModel(bool tied) {
  return MakeTestModel({.vocabulary_size = kVocabulary,
                        .width = 16,
                        .layers = 1,
                        .heads = 2,
                        .max_length = kTokens,
                        .tied_head = tied},
                       /*seed=*/11);
}

ModeOptions OptionsOf(const Case& c, int64_t cap,
                      models::LossReduction reduction = models::LossReduction::kMean) {
  return {.mode = c.mode.mode,
          .deferred_norms = c.mode.deferred_norms,
          .applied_clip_norm = AppliedClipNorm(cap),
          .model = {.loss_reduction = reduction}};
}

// The sum over `batch` in micro-batches of `size`, as float64.
std::vector<at::Tensor> SumOf(ModeRun& run, const models::MicroBatch& batch, int64_t size) {
  run.ZeroGradients();
  const int64_t examples = batch.tokens_BT.size(0);
  std::vector<models::MicroBatch> micro_batches;
  for (int64_t begin = 0; begin < examples; begin += size) {
    std::vector<int64_t> indices(std::min(size, examples - begin));
    std::iota(indices.begin(), indices.end(), begin);
    micro_batches.push_back(SelectFrom(batch, indices));
  }
  run.Run(micro_batches);
  std::vector<at::Tensor> sum;
  for (const at::Tensor& flat : run.flat_gradients()) sum.push_back(flat.to(at::kDouble));
  return sum;
}

double Distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i].sub(b[i]).pow(2).sum().item<double>();
  return std::sqrt(sum);
}

double Norm(const std::vector<at::Tensor>& a) {
  double sum = 0;
  for (const at::Tensor& part : a) sum += part.pow(2).sum().item<double>();
  return std::sqrt(sum);
}

models::MicroBatch Without(const models::MicroBatch& batch, int64_t removed) {
  std::vector<int64_t> rest;
  for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) {
    if (b != removed) rest.push_back(b);
  }
  return SelectFrom(batch, rest);
}

TEST_P(SensitivityTest, RemovingAnExampleMovesTheSumByAtMostTheClipNorm) {
  const TestModel model = SmallModel(GetParam().tied);
  constexpr int64_t kExamples = 12;
  ModeRun run(model, OptionsOf(GetParam(), kExamples), /*max_examples=*/5);
  std::mt19937 generator(5);
  double largest = 0;
  for (int round = 0; round < 25; ++round) {
    const models::MicroBatch batch = MakeMicroBatch(kExamples, kTokens, kVocabulary, 100 + round);
    const std::vector<at::Tensor> whole = SumOf(run, batch, 5);
    for (int removal = 0; removal < 20;
         ++removal) {  // 25 * 20: 1,000 a mode, half with tied weights
      const int64_t removed = static_cast<int64_t>(generator() % kExamples);
      const double distance = Distance(whole, SumOf(run, Without(batch, removed), 5));
      largest = std::max(largest, distance);
      ASSERT_LE(distance, kClipNorm) << "round " << round << ", example " << removed;
    }
  }
  EXPECT_GE(largest, 0.999 * AppliedClipNorm(kExamples));
}

// Equal examples, one after the other: the larger the sum, the coarser float32 rounds what another
// one adds to it, about as often up as down. Without the rounding margin this exceeds C.
TEST_P(SensitivityTest, OneMoreOfManyEqualExamplesMovesTheSumByAtMostTheClipNorm) {
  constexpr int64_t kExamples = 600;
  const TestModel model = SmallModel(GetParam().tied);
  const models::MicroBatch batch = MakeMicroBatch(1, kTokens, kVocabulary, /*seed=*/3);
  ModeRun run(model, OptionsOf(GetParam(), kExamples), /*max_examples=*/1);
  std::vector<at::Tensor> before = SumOf(run, batch, 1);
  double largest = Norm(before);
  for (int64_t count = 2; count <= kExamples; ++count) {
    run.Run(batch);
    std::vector<at::Tensor> sum;
    for (const at::Tensor& flat : run.flat_gradients()) sum.push_back(flat.to(at::kDouble));
    const double distance = Distance(sum, before);
    largest = std::max(largest, distance);
    ASSERT_LE(distance, kClipNorm) << count << " examples";
    before = std::move(sum);
  }
  EXPECT_GT(largest, AppliedClipNorm(kExamples));  // Some are rounded up.
}

struct OtherRule {
  std::string name;
  std::shared_ptr<const dp::ClippingRule> rule;
  double least_share = 0.999;  // of C', that the example that moves the sum most keeps
  bool is_adaptive = false;    // another C in every step
};

// The same for rules that are not flat, and for a threshold that takes another preset value in
// every step: of random batches every example in turn, 1,008 removals a rule and mode, half with
// tied weights.
TEST_P(SensitivityTest, OtherRulesKeepTheirSensitivity) {
  const TestModel model = SmallModel(GetParam().tied);
  constexpr int64_t kExamples = 12;
  const double margin = dp::RoundingMargin(kExamples);
  for (const OtherRule& other :
       {OtherRule{"per unit", *dp::PerUnitClipping::Create({0.1, 0.2}, margin)},
        // gamma takes its share of the norm
        OtherRule{"automatic", *dp::AutomaticClipping::Create(kClipNorm, /*gamma=*/0.01, margin),
                  /*least_share=*/0.95},
        OtherRule{"adaptive", *dp::FlatClipping::Create(kClipNorm, margin), 0.999,
                  /*is_adaptive=*/true}}) {
    ModeOptions options = OptionsOf(GetParam(), kExamples);
    options.clipping = other.rule;
    ModeRun run(model, options, /*max_examples=*/5);
    double bound = run.EndStep().value();
    EXPECT_EQ(bound, other.rule->sensitivity().value());
    double largest_share = 0;
    for (int round = 0; round < 42; ++round) {
      if (other.is_adaptive) {
        const double clip_norm = kClipNorm * std::exp(0.1 * (round % 7 - 3));
        ASSERT_TRUE(run.SetClipNorm(clip_norm).ok());
        bound = clip_norm;
      }
      const models::MicroBatch batch = MakeMicroBatch(kExamples, kTokens, kVocabulary, 300 + round);
      const std::vector<at::Tensor> whole = SumOf(run, batch, 5);
      for (int64_t removed = 0; removed < kExamples; ++removed) {  // 42 * 12 = 504
        const double distance = Distance(whole, SumOf(run, Without(batch, removed), 5));
        largest_share = std::max(largest_share, distance / (bound * (1 - margin)));
        ASSERT_LE(distance, bound) << other.name << ", round " << round << ", example " << removed;
      }
      EXPECT_EQ(run.EndStep().value(), bound) << other.name << ", round " << round;
    }
    EXPECT_GE(largest_share, other.least_share) << other.name;
  }
}

TEST_P(SensitivityTest, RemovingOneOfManyAlignedExamplesMovesTheSumByAtMostTheClipNorm) {
  const TestModel model = SmallModel(GetParam().tied);
  constexpr int64_t kExamples = 1024;
  ModeRun run(model, OptionsOf(GetParam(), kExamples), /*max_examples=*/64);
  const models::MicroBatch one = MakeMicroBatch(1, kTokens, kVocabulary, 4);
  const models::MicroBatch batch = SelectFrom(one, std::vector<int64_t>(kExamples, 0));
  const std::vector<at::Tensor> whole = SumOf(run, batch, 64);
  EXPECT_GE(Norm(whole), 0.999 * kExamples * kClipNorm);  // they are aligned, and clipped
  for (int64_t removed : {0, 511, 1023}) {
    EXPECT_LE(Distance(whole, SumOf(run, Without(batch, removed), 64)), kClipNorm);
  }
}

TEST_P(SensitivityTest, ClippedExamplesKeepTheirShare) {
  const TestModel model = SmallModel(GetParam().tied);
  ModeRun run(model, OptionsOf(GetParam(), /*cap=*/64), 1);
  const models::MicroBatch batch = MakeMicroBatch(20, kTokens, kVocabulary, 9);
  int clipped = 0;
  for (int64_t b = 0; b < 20; ++b) {
    const double kept = Norm(SumOf(run, SelectFrom(batch, {b}), 1));
    EXPECT_LE(kept, kClipNorm);
    if (run.norm_sq_B()[0].item<double>() <= kClipNorm * kClipNorm) continue;
    ++clipped;
    EXPECT_GE(kept, 0.999 * AppliedClipNorm(64)) << "example " << b;
  }
  EXPECT_GE(clipped, 15);
}

// Weights of the loss scale an example's gradient; with the sum of the tokens' losses nothing
// divides them again.
TEST_P(SensitivityTest, EnormousExamplesAreClippedOrLeftOut) {
  const TestModel model = SmallModel(GetParam().tied);
  ModeRun run(model, OptionsOf(GetParam(), 64, models::LossReduction::kSum), 4);
  models::MicroBatch batch = MakeMicroBatch(4, kTokens, kVocabulary, 9);
  const std::vector<at::Tensor> others = SumOf(run, SelectFrom(batch, {0, 1, 3}), 4);
  for (double scale : {1e15, 1e30}) {
    models::MicroBatch scaled = SelectFrom(batch, {0, 1, 2, 3});
    scaled.loss_mask_BT[2].mul_(scale);
    const double share = Distance(SumOf(run, scaled, 4), others);
    EXPECT_LE(share, kClipNorm) << scale;
    if (scale < 1e18) {
      EXPECT_GE(share, 0.999 * AppliedClipNorm(64));
    } else {
      EXPECT_EQ(share, 0);  // its squares overflow float32
    }
  }
}

TEST_P(SensitivityTest, NonFiniteLossesLeaveTheExampleOutExactly) {
  const TestModel model = SmallModel(GetParam().tied);
  ModeRun run(model, OptionsOf(GetParam(), 64), 4);
  models::MicroBatch batch = MakeMicroBatch(4, kTokens, kVocabulary, 9);
  models::MicroBatch left_out = SelectFrom(batch, {0, 1, 2, 3});
  left_out.loss_mask_BT[2].zero_();
  const std::vector<at::Tensor> others = SumOf(run, left_out, 4);
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    models::MicroBatch poisoned = SelectFrom(batch, {0, 1, 2, 3});
    poisoned.loss_mask_BT[2][1] = bad;
    EXPECT_EQ(Distance(SumOf(run, poisoned, 4), others), 0);
  }
}

TEST_P(SensitivityTest, NonFiniteActivationsLeaveTheExampleOut) {
  const TestModel model = SmallModel(/*tied=*/false);
  ModeRun run(model, OptionsOf(GetParam(), 64), 4);
  models::MicroBatch batch = MakeMicroBatch(4, kTokens, kVocabulary - 1, 9);
  batch.tokens_BT[2][0] = kVocabulary - 1;  // only this example reads the last row
  model.parameters[0][0][kVocabulary - 1].fill_(std::numeric_limits<float>::quiet_NaN());
  const double share = Distance(SumOf(run, batch, 4), SumOf(run, SelectFrom(batch, {0, 1, 3}), 4));
  EXPECT_LE(share, 1e-6);  // the others are summed in other products
}

TEST_P(SensitivityTest, ExamplesWithoutScoredTokensAddNothing) {
  const TestModel model = SmallModel(GetParam().tied);
  ModeRun run(model, OptionsOf(GetParam(), 64), 4);
  models::MicroBatch dummies = MakeMicroBatch(3, kTokens, kVocabulary, 9);
  dummies.loss_mask_BT.zero_();
  dummies.example_ids = {-1, -1, -1};
  EXPECT_EQ(Norm(SumOf(run, dummies, 4)), 0);
  EXPECT_EQ(run.Losses(dummies).abs().max().item<double>(), 0);
  models::MicroBatch one_token = MakeMicroBatch(2, 1, kVocabulary, 9);
  EXPECT_EQ(Norm(SumOf(run, one_token, 4)), 0);
}

// Their norms are zero: automatic clipping multiplies nothing by C / gamma.
TEST_P(SensitivityTest, OtherRulesAddNothingForThemEither) {
  const TestModel model = SmallModel(GetParam().tied);
  models::MicroBatch masked = MakeMicroBatch(3, kTokens, kVocabulary, 9);
  masked.loss_mask_BT.zero_();
  for (const auto& rule : {*dp::PerUnitClipping::Create({0.1, 0.2}, /*margin=*/0),
                           *dp::AutomaticClipping::Create(kClipNorm, /*gamma=*/1e-9,
                                                          /*margin=*/0)}) {
    ModeOptions options = OptionsOf(GetParam(), 64);
    options.clipping = rule;
    ModeRun run(model, options, 4);
    EXPECT_EQ(Norm(SumOf(run, masked, 4)), 0);
  }
}

TEST_P(SensitivityTest, AnEmptyBatchAddsNothing) {
  const TestModel model = SmallModel(GetParam().tied);
  ModeRun run(model, OptionsOf(GetParam(), 64), 4);
  const models::MicroBatch some = MakeMicroBatch(2, kTokens, kVocabulary, 9);
  EXPECT_EQ(Norm(SumOf(run, SelectFrom(some, {}), 4)), 0);
}

class MixedSensitivityTest : public ::testing::Test {
 protected:
  // Tiny products: threads would only wait for each other.
  static void SetUpTestSuite() {
    threads_ = at::get_num_threads();
    at::set_num_threads(1);
  }
  static void TearDownTestSuite() { at::set_num_threads(threads_); }

 private:
  static inline int threads_ = 1;
};

// Layers that keep output gradients beside layers that keep example gradients, as `auto` plans
// them.
TEST_F(MixedSensitivityTest, RemovingAnExampleMovesTheSumByAtMostTheClipNorm) {
  constexpr int64_t kExamples = 12;
  std::mt19937 generator(5);
  for (bool tied : {true, false}) {
    const TestModel model = SmallModel(tied);
    ModeOptions options = OptionsOf({{.mode = "per_example"}, tied}, kExamples);
    options.layer_modes =
        MixedModes(model.description,
                   {*layout::FindMode("flash_bk"), *layout::FindMode("per_example")}, tied ? 0 : 1);
    ModeRun run(model, options, /*max_examples=*/5);
    double largest = 0;
    for (int round = 0; round < 25; ++round) {
      const models::MicroBatch batch = MakeMicroBatch(kExamples, kTokens, kVocabulary, 500 + round);
      const std::vector<at::Tensor> whole = SumOf(run, batch, 5);
      for (int removal = 0; removal < 20; ++removal) {  // 25 * 20: 1,000, half with tied weights
        const int64_t removed = static_cast<int64_t>(generator() % kExamples);
        const double distance = Distance(whole, SumOf(run, Without(batch, removed), 5));
        largest = std::max(largest, distance);
        ASSERT_LE(distance, kClipNorm) << "round " << round << ", example " << removed;
      }
    }
    EXPECT_GE(largest, 0.999 * AppliedClipNorm(kExamples)) << (tied ? "tied" : "untied");
  }
}

// Opposite gradients at positions of one example: Gram's terms cancel, the direct form takes over.
TEST(GramCancellationTest, TheNormStaysAboveTheTrueOne) {
  const TestModel model = SmallModel(/*tied=*/false);
  ModeRun run(model, OptionsOf({{.mode = "flash"}, false}, 64, models::LossReduction::kSum), 1);
  models::MicroBatch batch = MakeMicroBatch(1, kTokens, kVocabulary, 9);
  batch.loss_mask_BT.fill_(1);
  batch.loss_mask_BT[0][0] = 0;
  batch.tokens_BT.fill_(3);
  // Weights of alternating sign on equal tokens.
  for (int64_t t = 2; t < kTokens; t += 2) batch.loss_mask_BT[0][t] = -1;
  const double kept = Norm(SumOf(run, batch, 1));
  EXPECT_LE(kept, kClipNorm);
}

}  // namespace
}  // namespace sotto::equivalence
