// What one example can change when every kind of layer takes part, in float32 and in bfloat16.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "tests/equivalence/mode_run.h"
#include "worker/dp/clipping_rule.h"
#include "worker/models/testing/all_layers_model.h"

namespace sotto::equivalence {
namespace {

constexpr double kClipNorm = 0.25;
constexpr int64_t kVocabulary = 29;
constexpr int64_t kTokens = 9;
constexpr int64_t kCap = 16;

struct Case {
  ClippingMode mode;
  bool tied = true;
  bool bfloat16 = false;
};

std::string NameOf(const Case& c) {
  return c.mode.name + (c.tied ? "Tied" : "Untied") + (c.bfloat16 ? "Bfloat16" : "");
}

// Keeps the bytes of a case out of messages.
void PrintTo(const Case& c, std::ostream* out) { *out << NameOf(c); }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const ClippingMode& mode : ClippingModes()) {
    cases.push_back({mode});
    cases.push_back({mode, /*tied=*/false});
    cases.push_back({mode, /*tied=*/true, /*bfloat16=*/true});
  }
  return cases;
}

double AppliedClipNorm() { return kClipNorm * (1 - dp::RoundingMargin(kCap)); }

double Distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i].sub(b[i]).pow(2).sum().item<double>();
  return std::sqrt(sum);
}

class AllLayersSensitivityTest : public ::testing::TestWithParam<Case> {
 protected:
  // Tensors of a few hundred elements: threads would only wait for each other.
  static void SetUpTestSuite() { at::set_num_threads(1); }

  static ModeOptions Options() {
    const Case& c = GetParam();
    return {.mode = c.mode.mode,
            .deferred_norms = c.mode.deferred_norms,
            .applied_clip_norm = AppliedClipNorm(),
            .model = {.loss_reduction = models::LossReduction::kSum},
            .compute_type = c.bfloat16 ? at::kBFloat16 : at::kFloat,
            .make_model = models::MakeAllLayersModel};
  }

  // The sum over the examples `indices` of `batch`, in micro-batches of 4, as float64.
  std::vector<at::Tensor> SumOf(const models::MicroBatch& batch,
                                const std::vector<int64_t>& indices) {
    run_.ZeroGradients();
    std::vector<models::MicroBatch> micro_batches;
    for (size_t begin = 0; begin < indices.size(); begin += 4) {
      const size_t end = std::min(indices.size(), begin + 4);
      micro_batches.push_back(
          SelectFrom(batch, {indices.begin() + static_cast<std::ptrdiff_t>(begin),
                             indices.begin() + static_cast<std::ptrdiff_t>(end)}));
    }
    run_.Run(micro_batches);
    std::vector<at::Tensor> sum;
    for (const at::Tensor& flat : run_.flat_gradients()) sum.push_back(flat.to(at::kDouble));
    return sum;
  }

  static std::vector<int64_t> Without(int64_t examples, int64_t removed) {
    std::vector<int64_t> rest(static_cast<size_t>(examples));
    std::iota(rest.begin(), rest.end(), 0);
    rest.erase(rest.begin() + removed);
    return rest;
  }

  const TestModel model_ = MakeTestModel(
      models::DescribeAllLayers({.vocabulary_size = kVocabulary, .tied_head = GetParam().tied}),
      /*stddev=*/0.3, /*seed=*/11);
  ModeRun run_{model_, Options(), /*max_examples=*/4};
};

INSTANTIATE_TEST_SUITE_P(Modes, AllLayersSensitivityTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return NameOf(info.param); });

TEST_P(AllLayersSensitivityTest, RemovingAnExampleMovesTheSumByAtMostTheClipNorm) {
  std::mt19937 generator(5);
  std::vector<int64_t> all(9);
  std::iota(all.begin(), all.end(), 0);
  double largest = 0;
  for (int round = 0; round < 8; ++round) {
    const models::MicroBatch batch = MakeMicroBatch(9, kTokens, kVocabulary, 100 + round);
    const std::vector<at::Tensor> whole = SumOf(batch, all);
    for (int removal = 0; removal < 5; ++removal) {
      const int64_t removed = static_cast<int64_t>(generator() % all.size());
      const double distance = Distance(whole, SumOf(batch, Without(9, removed)));
      largest = std::max(largest, distance);
      ASSERT_LE(distance, kClipNorm) << "round " << round << ", example " << removed;
    }
  }
  EXPECT_GE(largest, 0.999 * AppliedClipNorm());
}

TEST_P(AllLayersSensitivityTest, DuplicatesCountTwice) {
  const models::MicroBatch batch = MakeMicroBatch(2, kTokens, kVocabulary, 9);
  const std::vector<at::Tensor> once = SumOf(batch, {1});
  std::vector<at::Tensor> twice = SumOf(batch, {1, 1});
  for (at::Tensor& part : twice) part.mul_(0.5);
  EXPECT_LE(Distance(once, twice), 1e-6 * kClipNorm);
}

// Weights of the loss scale an example's gradient; nothing divides them again.
TEST_P(AllLayersSensitivityTest, EnormousExamplesAreClippedOrLeftOut) {
  const models::MicroBatch batch = MakeMicroBatch(4, kTokens, kVocabulary, 9);
  const std::vector<at::Tensor> others = SumOf(batch, {0, 1, 3});
  for (double scale : {1e15, 1e30}) {
    models::MicroBatch scaled = SelectFrom(batch, {0, 1, 2, 3});
    scaled.loss_mask_BT[2].mul_(scale);
    const double share = Distance(SumOf(scaled, {0, 1, 2, 3}), others);
    EXPECT_LE(share, kClipNorm) << scale;
    if (scale < 1e18) {
      EXPECT_GE(share, 0.999 * AppliedClipNorm());
    }
  }
}

TEST_P(AllLayersSensitivityTest, NonFiniteLossesLeaveTheExampleOutExactly) {
  const models::MicroBatch batch = MakeMicroBatch(4, kTokens, kVocabulary, 9);
  models::MicroBatch left_out = SelectFrom(batch, {0, 1, 2, 3});
  left_out.loss_mask_BT[2].zero_();
  const std::vector<at::Tensor> others = SumOf(left_out, {0, 1, 2, 3});
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    models::MicroBatch poisoned = SelectFrom(batch, {0, 1, 2, 3});
    poisoned.loss_mask_BT[2][1] = bad;
    EXPECT_EQ(Distance(SumOf(poisoned, {0, 1, 2, 3}), others), 0) << bad;
  }
}

// A row of an untied table that only one example reads: convolutions, attention, norms and the
// branch of the first token see it.
TEST_P(AllLayersSensitivityTest, EnormousOrNonFiniteActivationsMoveNobodyElse) {
  constexpr int64_t kRare = kVocabulary - 1;
  models::MicroBatch batch = MakeMicroBatch(4, kTokens, kRare, 9);
  batch.tokens_BT[2][0] = kRare;
  const std::vector<at::Tensor> others = SumOf(batch, {0, 1, 3});
  for (const auto& [unit, name] : {std::pair(1, "again.weight"), std::pair(3, "topic.weight")}) {
    at::Tensor row;
    for (size_t i = 0; i < model_.parameters[unit].size(); ++i) {
      if (model_.description.units[unit].parameters[i].name == name) {
        row = model_.parameters[unit][i][kRare];
      }
    }
    const at::Tensor before = row.clone();
    for (float value : {1e15f, 1e30f, 3e38f, std::numeric_limits<float>::infinity(),
                        std::numeric_limits<float>::quiet_NaN()}) {
      row.fill_(value);
      row[0] = -value;
      const double share = Distance(SumOf(batch, {0, 1, 2, 3}), others);
      // NaN fails too.
      EXPECT_TRUE(share <= kClipNorm) << name << " " << value << ": " << share;
      if (!std::isfinite(value)) {
        EXPECT_LE(share, 1e-6) << name;  // the others are summed in other products
      }
    }
    row.copy_(before);
  }
}

TEST_P(AllLayersSensitivityTest, NothingScoredAddsNothing) {
  models::MicroBatch dummies = MakeMicroBatch(3, kTokens, kVocabulary, 9);
  dummies.loss_mask_BT.zero_();
  dummies.example_ids = {-1, -1, -1};
  const models::MicroBatch one_token = MakeMicroBatch(3, 1, kVocabulary, 9);
  const std::vector<at::Tensor> zeros = SumOf(one_token, {});  // not one micro-batch
  for (const at::Tensor& flat : zeros) EXPECT_EQ(flat.abs().sum().item<double>(), 0);
  EXPECT_EQ(Distance(SumOf(one_token, {0, 1, 2}), zeros), 0);
  EXPECT_EQ(Distance(SumOf(dummies, {0, 1, 2}), zeros), 0);
}

}  // namespace
}  // namespace sotto::equivalence
