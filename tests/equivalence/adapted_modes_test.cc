// Adapters, biases alone and frozen parts: every gradient mode against a loop over examples in
// float64 that knows trained parameters only, and what frozen ones cost: no norm, no gradient, no
// noise.
#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "common/base/log.h"
#include "common/layout/adaptation.h"
#include "common/layout/gpt2_description.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_gpt2.h"
#include "tests/equivalence/mode_run.h"
#include "tests/equivalence/reference.h"

namespace sotto::equivalence {
namespace {

constexpr int64_t kVocabulary = 97;
constexpr int64_t kExamples = 6;

struct Subject {
  std::string name;
  layout::Adaptation adaptation;
  bool tied = true;
};

std::vector<Subject> Subjects() {
  const layout::LoraAdaptation lora = {.rank = 3, .alpha = 6};
  std::vector<Subject> subjects = {
      {.name = "Lora", .adaptation = {.lora = lora}},
      {.name = "LoraEverywhere",
       .adaptation = {.lora = layout::LoraAdaptation{.rank = 2,
                                                     .targets = {"c_attn", "c_proj", "c_fc"}}}},
      {.name = "Biases", .adaptation = {.bias_only = true}},
      {.name = "LoraAndBiases", .adaptation = {.lora = lora, .bias_only = true}},
      {.name = "FrozenPositions", .adaptation = {.frozen = {"wpe.*"}}},
      {.name = "FrozenTokens", .adaptation = {.frozen = {"wte.*"}}},
      {.name = "FrozenTokensUntied", .adaptation = {.frozen = {"wte.*"}}, .tied = false},
      {.name = "FrozenHead", .adaptation = {.frozen = {"lm_head.*"}}, .tied = false},
      {.name = "FrozenBlock", .adaptation = {.frozen = {"h.0.*"}}},
      {.name = "FrozenWeights", .adaptation = {.frozen = {"h.*.attn.*weight", "*.ln_2.bias"}}},
  };
  return subjects;
}

layout::ModelDescription DescriptionOf(const Subject& subject) {
  layout::ModelDescription description =
      *layout::MakeGpt2Description({.vocabulary_size = kVocabulary,
                                    .width = 32,
                                    .layers = 2,
                                    .heads = 4,
                                    .max_length = 24,
                                    .tied_head = subject.tied});
  SOTTO_CHECK(layout::Adapt(subject.adaptation, description).ok()) << subject.name;
  return description;
}

// Made once for all modes.
const Reference& ReferenceOf(const Subject& subject) {
  static auto& references = *new std::map<std::string, Reference>;
  const auto [found, is_new] = references.try_emplace(
      subject.name, Reference{.model = MakeTestModel(DescriptionOf(subject), /*stddev=*/0.15,
                                                     /*seed=*/7),
                              .batch = MakeMicroBatch(kExamples, /*tokens=*/24, 40, /*seed=*/3)});
  Reference& reference = found->second;
  if (!is_new) return reference;
  for (int64_t b = 0; b < kExamples; ++b) {
    reference.examples.push_back(AutogradExample(
        reference.model.description, reference.model.parameters, reference.batch.tokens_BT[b],
        reference.batch.loss_mask_BT[b], /*mean_loss=*/true));
  }
  return reference;
}

struct Case {
  ClippingMode mode;
  Subject subject;
};

std::string NameOf(const Case& c) { return c.mode.name + "_" + c.subject.name; }

// Keeps the bytes of a case out of messages.
void PrintTo(const Case& c, std::ostream* out) { *out << NameOf(c); }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Subject& subject : Subjects()) {
    for (const ClippingMode& mode : ClippingModes()) cases.push_back({mode, subject});
  }
  return cases;
}

class AdaptedModesTest : public ::testing::TestWithParam<Case> {
 protected:
  // Tensors of a few thousand elements: threads would only wait for each other.
  static void SetUpTestSuite() { at::set_num_threads(1); }
};

INSTANTIATE_TEST_SUITE_P(Cases, AdaptedModesTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return NameOf(info.param); });

TEST_P(AdaptedModesTest, NormsAndClippedSumsEqualTheFloat64Loop) {
  const Reference& reference = ReferenceOf(GetParam().subject);
  ASSERT_GT(reference.examples[0].norm, 0);
  const double clip_norm = reference.ClipNorm();
  ModeRun run(reference.model,
              {.mode = GetParam().mode.mode,
               .deferred_norms = GetParam().mode.deferred_norms,
               .applied_clip_norm = clip_norm},
              kExamples);
  run.Run(reference.batch);
  ExpectNorms(reference, run);
  ExpectLosses(reference, run.Losses(reference.batch));
  ExpectSums(reference, run.gradients(), clip_norm);
}

// Gradient shards, and where noise falls, hold trained parameters alone.
TEST_P(AdaptedModesTest, FrozenPartsHaveNoGradientAndGetNoNoise) {
  const Reference& reference = ReferenceOf(GetParam().subject);
  const layout::FlatLayout& layout = reference.model.layout;
  ModeRun run(reference.model, {.mode = GetParam().mode.mode}, kExamples);
  int64_t frozen = 0;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    int64_t trained = 0, whole = 0, aligned = 0;
    for (const layout::ParameterLayout& parameter : layout.unit(unit).parameters) {
      whole += parameter.elements;
      if (!parameter.trainable) continue;
      trained += parameter.elements;
      aligned += (parameter.elements + 31) / 32 * 32;
    }
    frozen += whole - trained;
    EXPECT_EQ(run.flat_gradients()[unit].numel(), aligned) << "unit " << unit;
    int64_t noised = 0;
    for (const layout::Interval& used : layout.UsedIntervals(unit, /*rank=*/0)) {
      noised += used.end - used.begin;
    }
    EXPECT_EQ(noised, trained) << "unit " << unit;
  }
  EXPECT_GT(frozen, 0);
}

// Without clipping too.
TEST(UnclippedAdaptedTest, NoDpIsTheSumOfUnclippedGradients) {
  for (const Subject& subject : Subjects()) {
    SCOPED_TRACE(subject.name);
    const Reference& reference = ReferenceOf(subject);
    ModeRun run(reference.model, {.mode = "no_dp"}, kExamples);
    run.Run(reference.batch);
    ExpectSums(reference, run.gradients(), INFINITY);
  }
}

}  // namespace
}  // namespace sotto::equivalence
