// Every gradient mode x every kind of layer, on the path that training takes, against autograd in
// float64 over one example at a time.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_all_layers.h"
#include "tests/equivalence/mode_run.h"
#include "tests/equivalence/reference.h"
#include "worker/models/testing/all_layers_model.h"

namespace sotto::equivalence {
namespace {

constexpr int64_t kVocabulary = 29;

// Which parameters are trained.
struct Subject {
  std::string name;
  bool tied = true;
  // Only the parameters of this layer, "unit/layer"; empty: as the description has it.
  std::string layer;
  bool biases_only = false;
};

layout::ModelDescription DescriptionOf(const Subject& subject) {
  layout::ModelDescription description =
      models::DescribeAllLayers({.vocabulary_size = kVocabulary, .tied_head = subject.tied});
  for (layout::UnitDescription& unit : description.units) {
    for (const layout::LayerDescription& layer : unit.layers) {
      for (int parameter : layer.parameters) {
        bool& trainable = unit.parameters[parameter].trainable;
        if (!subject.layer.empty()) trainable = unit.name + "/" + layer.name == subject.layer;
        if (subject.biases_only) trainable = unit.parameters[parameter].name.ends_with(".bias");
      }
    }
  }
  return description;
}

// The whole model, its biases, and each layer alone: alone, a layer's norm cannot hide behind the
// others'.
std::vector<Subject> Subjects() {
  std::vector<Subject> subjects = {{.name = "WholeTied"},
                                   {.name = "WholeUntied", .tied = false},
                                   {.name = "Biases", .biases_only = true}};
  for (bool tied : {true, false}) {
    const layout::ModelDescription description =
        models::DescribeAllLayers({.vocabulary_size = kVocabulary, .tied_head = tied});
    for (const layout::UnitDescription& unit : description.units) {
      if (!tied && unit.name != "root") continue;
      for (const layout::LayerDescription& layer : unit.layers) {
        std::string name = unit.name + "_" + layer.name + (tied ? "" : "_untied");
        std::replace(name.begin(), name.end(), '.', '_');
        subjects.push_back({.name = name, .tied = tied, .layer = unit.name + "/" + layer.name});
      }
    }
  }
  return subjects;
}

// A query that sees one key looks at it whatever both are: their maps have no gradient, and what
// float32 computes for it is rounding.
bool NeedsTwoKeys(const Subject& subject) {
  return subject.layer == "attention/q" || subject.layer == "attention/k";
}

// Examples of at least three tokens: some scored query sees two keys.
models::MicroBatch WithTwoKeys(const models::MicroBatch& batch) {
  std::vector<int64_t> indices;
  for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) {
    if (batch.loss_mask_BT[b].narrow(0, 2, batch.loss_mask_BT.size(1) - 2).any().item<bool>()) {
      indices.push_back(b);
    }
  }
  return SelectFrom(batch, indices);
}

// Made once for all modes.
const Reference& ReferenceOf(const Subject& subject, int64_t tokens) {
  static auto& references = *new std::map<std::pair<std::string, int64_t>, Reference>;
  const auto [found, is_new] = references.try_emplace(
      {subject.name, tokens},
      Reference{.model = MakeTestModel(DescriptionOf(subject), /*stddev=*/0.3, /*seed=*/11),
                // Few distinct tokens: most of them repeat.
                .batch = MakeMicroBatch(/*examples=*/5, tokens, /*vocabulary=*/8, /*seed=*/4)});
  Reference& reference = found->second;
  if (!is_new) return reference;
  if (NeedsTwoKeys(subject)) reference.batch = WithTwoKeys(reference.batch);
  for (int64_t b = 0; b < reference.batch.tokens_BT.size(0); ++b) {
    reference.examples.push_back(AutogradAllLayers(
        reference.model.description, reference.model.parameters, reference.batch.tokens_BT[b],
        reference.batch.loss_mask_BT[b], /*mean_loss=*/true));
  }
  return reference;
}

struct Case {
  ClippingMode mode;
  Subject subject;
};

// Keeps the bytes of a case out of messages.
void PrintTo(const Subject& s, std::ostream* out) { *out << s.name; }

void PrintTo(const Case& c, std::ostream* out) { *out << c.mode.name << c.subject.name; }

std::vector<Case> CasesOf(const std::vector<Subject>& subjects) {
  std::vector<Case> cases;
  for (const Subject& subject : subjects) {
    for (const ClippingMode& mode : ClippingModes()) cases.push_back({mode, subject});
  }
  return cases;
}

// Those that need two keys, or the others.
std::vector<Subject> SubjectsThat(bool need_two_keys) {
  std::vector<Subject> subjects = Subjects();
  std::erase_if(subjects, [&](const Subject& s) { return NeedsTwoKeys(s) != need_two_keys; });
  return subjects;
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return info.param.mode.name + "_" + info.param.subject.name;
}

class AllLayersTest : public ::testing::TestWithParam<Case> {
 protected:
  // Tensors of a few hundred elements: threads would only wait for each other.
  static void SetUpTestSuite() { at::set_num_threads(1); }

  static void ExpectTheFloat64Loop(int64_t tokens) {
    const auto& [mode, subject] = GetParam();
    const Reference& reference = ReferenceOf(subject, tokens);
    const double clip_norm = reference.ClipNorm();
    ModeRun run(reference.model,
                {.mode = mode.mode,
                 .deferred_norms = mode.deferred_norms,
                 .applied_clip_norm = clip_norm,
                 .make_model = models::MakeAllLayersModel},
                reference.batch.tokens_BT.size(0));
    run.Run(reference.batch);
    ExpectNorms(reference, run);
    ExpectSums(reference, run.gradients(), clip_norm);
  }
};

INSTANTIATE_TEST_SUITE_P(Cases, AllLayersTest, ::testing::ValuesIn(CasesOf(Subjects())), CaseName);

TEST_P(AllLayersTest, NormsAndClippedSumsEqualTheFloat64Loop) { ExpectTheFloat64Loop(20); }

class TwoTokensTest : public AllLayersTest {};

INSTANTIATE_TEST_SUITE_P(Cases, TwoTokensTest,
                         ::testing::ValuesIn(CasesOf(SubjectsThat(/*need_two_keys=*/false))),
                         CaseName);

TEST_P(TwoTokensTest, NormsAndClippedSumsEqualTheFloat64Loop) { ExpectTheFloat64Loop(2); }

class OneKeyTest : public AllLayersTest {};

INSTANTIATE_TEST_SUITE_P(Cases, OneKeyTest,
                         ::testing::ValuesIn(CasesOf(SubjectsThat(/*need_two_keys=*/true))),
                         CaseName);

// The exact gradient is the difference of two equal dot products over a head's width; each may be
// off by a unit roundoff (2^-24) for every product, in terms of the whole model's gradient.
TEST_P(OneKeyTest, QueriesAndKeysHaveNoGradientButRounding) {
  const auto& [mode, subject] = GetParam();
  constexpr int64_t kExamples = 5;
  constexpr double kRounding = 2 * models::AllLayersOptions::kHeadWidth * 0x1p-24;
  const TestModel model = MakeTestModel(DescriptionOf(subject), /*stddev=*/0.3, /*seed=*/11);
  const models::MicroBatch batch = MakeMicroBatch(kExamples, /*tokens=*/2, /*vocabulary=*/8, 4);
  ModeRun run(model,
              {.mode = mode.mode,
               .deferred_norms = mode.deferred_norms,
               .make_model = models::MakeAllLayersModel},
              kExamples);
  run.Run(batch);
  for (int64_t b = 0; b < kExamples; ++b) {
    const ExampleGradient whole =
        AutogradAllLayers(DescriptionOf({.name = "WholeTied"}), model.parameters,
                          batch.tokens_BT[b], batch.loss_mask_BT[b], /*mean_loss=*/true);
    const ExampleGradient own =
        AutogradAllLayers(model.description, model.parameters, batch.tokens_BT[b],
                          batch.loss_mask_BT[b], /*mean_loss=*/true);
    EXPECT_LE(own.norm, 1e-15 * whole.norm);
    EXPECT_LE(std::sqrt(run.norm_sq_B()[b].item<double>()), kRounding * whole.norm) << b;
  }
}

class UnclippedAllLayersTest : public ::testing::TestWithParam<Subject> {};

INSTANTIATE_TEST_SUITE_P(Subjects, UnclippedAllLayersTest, ::testing::ValuesIn(Subjects()),
                         [](const auto& info) { return info.param.name; });

TEST_P(UnclippedAllLayersTest, NoDpIsTheSumOfUnclippedGradients) {
  const Reference& reference = ReferenceOf(GetParam(), /*tokens=*/20);
  ModeRun run(reference.model, {.mode = "no_dp", .make_model = models::MakeAllLayersModel},
              reference.batch.tokens_BT.size(0));
  run.Run(reference.batch);
  ExpectSums(reference, run.gradients(), INFINITY);
}

}  // namespace
}  // namespace sotto::equivalence
