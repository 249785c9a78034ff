// Every gradient mode against a loop over examples in float64.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_gpt2.h"
#include "tests/equivalence/mode_run.h"
#include "tests/equivalence/reference.h"
#include "worker/dp/automatic_clipping.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"

namespace sotto::equivalence {
namespace {

using ::testing::HasSubstr;

struct Shape {
  std::string name;
  bool tied = true;
  int64_t examples = 6;
  int64_t tokens = 24;
  int64_t width = 32;
  bool mean_loss = true;
  int64_t head_chunk_bytes = int64_t{256} << 20;

  bool operator<(const Shape& other) const {  // By what the reference depends on.
    const auto key = [](const Shape& s) {
      return std::make_tuple(s.tied, s.examples, s.tokens, s.width, s.mean_loss);
    };
    return key(*this) < key(other);
  }
};

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (bool tied : {false, true}) {
    const std::string head = tied ? "Tied" : "Untied";
    shapes.push_back({.name = head, .tied = tied});
    shapes.push_back({.name = head + "SumLoss", .tied = tied, .mean_loss = false});
    // 24 * 97 * 4 bytes an example: two examples at a time.
    shapes.push_back({.name = head + "HeadInChunks", .tied = tied, .head_chunk_bytes = 20000});
    // More than one Gram tile, the direct form, an odd length.
    shapes.push_back({.name = head + "Long", .tied = tied, .examples = 4, .tokens = 161});
    // Gram form with several tiles: T well below d p / (d + p) of the wide layers.
    shapes.push_back(
        {.name = head + "Wide", .tied = tied, .examples = 2, .tokens = 150, .width = 512});
    shapes.push_back({.name = head + "OneExample", .tied = tied, .examples = 1});
    // Nothing follows the only token: no loss, and norms of 0. tests/models has one token scored.
    shapes.push_back({.name = head + "NothingScored", .tied = tied, .tokens = 1});
  }
  return shapes;
}

TestModel ModelOf(const Shape& shape) {
  return MakeTestModel({.vocabulary_size = 97,
                        .width = shape.width,
                        .layers = 2,
                        .heads = 4,
                        .max_length = std::max<int64_t>(2, shape.tokens),
                        .tied_head = shape.tied},
                       /*seed=*/7);
}

// Made once for all modes.
const Reference& ReferenceOf(const Shape& shape) {
  static auto& references = *new std::map<Shape, Reference>;
  const auto found = references.find(shape);
  if (found != references.end()) return found->second;
  Reference reference{.model = ModelOf(shape),
                      .batch = MakeMicroBatch(shape.examples, shape.tokens, /*vocabulary=*/40, 3)};
  for (int64_t b = 0; b < shape.examples; ++b) {
    reference.examples.push_back(AutogradExample(
        reference.model.description, reference.model.parameters, reference.batch.tokens_BT[b],
        reference.batch.loss_mask_BT[b], shape.mean_loss));
  }
  return references.emplace(shape, std::move(reference)).first->second;
}

models::Model::Options ModelOptionsOf(const Shape& shape) {
  return {.loss_reduction =
              shape.mean_loss ? models::LossReduction::kMean : models::LossReduction::kSum,
          .head_chunk_bytes = shape.head_chunk_bytes};
}

double UnitNorm(const ExampleGradient& example, size_t unit) {
  double sum = 0;
  for (const at::Tensor& gradient : example.gradients[unit]) {
    sum += gradient.pow(2).sum().item<double>();
  }
  return std::sqrt(sum);
}

struct ModeCase {
  ClippingMode mode;
  Shape shape;
};

// Keeps the bytes of a case out of messages.
void PrintTo(const ModeCase& c, std::ostream* out) { *out << c.mode.name << c.shape.name; }

std::vector<ModeCase> ModeCases() {
  std::vector<ModeCase> cases;
  for (const Shape& shape : Shapes()) {
    for (const ClippingMode& mode : ClippingModes()) cases.push_back({mode, shape});
  }
  return cases;
}

class GradientModesTest : public ::testing::TestWithParam<ModeCase> {};

INSTANTIATE_TEST_SUITE_P(Cases, GradientModesTest, ::testing::ValuesIn(ModeCases()),
                         [](const auto& info) {
                           return info.param.mode.name + info.param.shape.name;
                         });

TEST_P(GradientModesTest, NormsAndClippedSumsEqualTheFloat64Loop) {
  const auto& [mode, shape] = GetParam();
  const Reference& reference = ReferenceOf(shape);
  for (const ExampleGradient& example : reference.examples) {
    ASSERT_EQ(example.norm > 0, shape.tokens > 1);
  }
  const double clip_norm = reference.ClipNorm();
  ModeRun run(reference.model,
              {.mode = mode.mode,
               .deferred_norms = mode.deferred_norms,
               .applied_clip_norm = clip_norm,
               .model = ModelOptionsOf(shape)},
              shape.examples);
  run.Run(reference.batch);
  ExpectNorms(reference, run);
  ExpectLosses(reference, run.Losses(reference.batch));
  ExpectSums(reference, run.gradients(), clip_norm);
}

class ClippingRulesTest : public ::testing::TestWithParam<ClippingMode> {};

INSTANTIATE_TEST_SUITE_P(Modes, ClippingRulesTest, ::testing::ValuesIn(ClippingModes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ClippingRulesTest, UnitsAreClippedAtTheirOwnThresholds) {
  const Reference& reference = ReferenceOf({.tied = true});
  std::vector<double> thresholds;  // Half of the examples are clipped in each unit.
  for (size_t unit = 0; unit < reference.model.parameters.size(); ++unit) {
    std::vector<double> norms;
    for (const ExampleGradient& example : reference.examples) {
      norms.push_back(UnitNorm(example, unit));
    }
    std::sort(norms.begin(), norms.end());
    thresholds.push_back(0.5 * (norms[2] + norms[3]));
  }
  ModeRun run(reference.model,
              {.mode = GetParam().mode,
               .deferred_norms = GetParam().deferred_norms,
               .clipping = *dp::PerUnitClipping::Create(thresholds, /*margin=*/0)},
              /*max_examples=*/6);
  run.Run(reference.batch);
  ExpectNorms(reference, run);
  ExpectLosses(reference, run.Losses(reference.batch));
  ExpectSums(reference, run.gradients(), [&](const ExampleGradient& example, size_t unit) {
    return std::min(1.0, thresholds[unit] / UnitNorm(example, unit));
  });
}

TEST_P(ClippingRulesTest, AutomaticClippingScalesEveryExample) {
  const Reference& reference = ReferenceOf({.tied = true});
  const double gamma = reference.ClipNorm();
  ModeRun run(reference.model,
              {.mode = GetParam().mode,
               .deferred_norms = GetParam().deferred_norms,
               .clipping = *dp::AutomaticClipping::Create(/*clip_norm=*/3, gamma, /*margin=*/0)},
              /*max_examples=*/6);
  run.Run(reference.batch);
  ExpectSums(reference, run.gradients(),
             [&](const ExampleGradient& example, size_t) { return 3 / (example.norm + gamma); });
}

TEST_P(ClippingRulesTest, TheClipNormChangesBetweenStepsOnly) {
  const Reference& reference = ReferenceOf({.tied = true});
  const double clip_norm = reference.ClipNorm();
  ModeRun run(reference.model,
              {.mode = GetParam().mode,
               .deferred_norms = GetParam().deferred_norms,
               .clipping = *dp::FlatClipping::Create(17 * clip_norm, /*margin=*/0)},
              /*max_examples=*/6);
  EXPECT_OK(run.SetClipNorm(2 * clip_norm));
  run.Run(reference.batch);
  EXPECT_THAT(run.SetClipNorm(clip_norm),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("between steps")));
  EXPECT_EQ(run.EndStep().value(), 2 * clip_norm);
  EXPECT_THAT(run.SetClipNorm(0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(run.SetClipNorm(clip_norm));
  run.ZeroGradients();
  run.Run(reference.batch);
  EXPECT_EQ(run.EndStep().value(), clip_norm);
  ExpectSums(reference, run.gradients(), clip_norm);
}

// What `auto` plans: some layers keep output gradients, the others example gradients.
TEST(MixedModesTest, LayersOfOneUnitMayKeepDifferentThings) {
  for (bool tied : {false, true}) {
    for (bool deferred : {false, true}) {
      for (size_t shift : {0, 1}) {
        SCOPED_TRACE(absl::StrCat(tied ? "tied" : "untied", deferred ? ", deferred" : "",
                                  ", shift ", shift));
        const Reference& reference = ReferenceOf({.tied = tied});
        std::vector<layout::UnitMode> kinds = {*layout::FindMode("flash_bk"),
                                               *layout::FindMode("per_example"),
                                               *layout::FindMode("ghost_bk")};
        if (deferred) kinds[0] = layout::WithDeferredNorms(kinds[0]);
        const double clip_norm = reference.ClipNorm();
        ModeRun run(reference.model,
                    {.mode = "per_example",
                     .deferred_norms = deferred,
                     .layer_modes = MixedModes(reference.model.description, kinds, shift),
                     .applied_clip_norm = clip_norm},
                    /*max_examples=*/6);
        run.Run(reference.batch);
        ExpectNorms(reference, run);
        ExpectLosses(reference, run.Losses(reference.batch));
        ExpectSums(reference, run.gradients(), clip_norm);
      }
    }
  }
}

TEST(MixedModesTest, OnePassAndTwoDoNotMix) {
  const TestModel model = ModelOf({});
  layout::LayerModes layer_modes(model.layout.num_units());
  layer_modes[1] = {*layout::FindMode("flash_bk"), *layout::FindMode("flash")};
  const auto create = [&](const std::string& mode) {
    return dp::GradientPass::Create(model.layout, {.mode = *layout::FindMode(mode),
                                                   .layer_modes = layer_modes,
                                                   .clipping = *dp::FlatClipping::Create(1, 0),
                                                   .max_examples = 1})
        .status();
  };
  EXPECT_THAT(create("per_example"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layer 1 of unit 1")));
  EXPECT_THAT(create("flash"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layer 0 of unit 1")));
  layer_modes.pop_back();
  EXPECT_THAT(create("flash_bk"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("given for 2 units")));
}

// A second pass forms the output gradients that the first one measured, bit for bit: book-keeping,
// which keeps the first one's, has equal sums.
TEST(GradientModesTest, BothPassesSeeTheSameGradients) {
  for (const Shape& shape : {Shape{.tied = false, .examples = 4, .tokens = 161},
                             Shape{.tied = true}, Shape{.tied = true, .head_chunk_bytes = 20000}}) {
    const Reference& reference = ReferenceOf(shape);
    for (const std::string mode : {"flash", "flash_fuse"}) {
      const auto run_of = [&](const std::string& name) {
        auto run = std::make_unique<ModeRun>(reference.model,
                                             ModeOptions{.mode = name,
                                                         .applied_clip_norm = reference.ClipNorm(),
                                                         .model = ModelOptionsOf(shape)},
                                             shape.examples);
        run->Run(reference.batch);
        return run;
      };
      const auto two_passes = run_of(mode);
      const auto one_pass = run_of(mode + "_bk");
      for (size_t unit = 0; unit < two_passes->flat_gradients().size(); ++unit) {
        EXPECT_TRUE(at::equal(two_passes->flat_gradients()[unit], one_pass->flat_gradients()[unit]))
            << mode << ", unit " << unit;
      }
    }
  }
}

TEST(GradientModesTest, NoDpIsTheSumOfUnclippedGradients) {
  for (bool tied : {false, true}) {
    const Reference& reference = ReferenceOf({.tied = tied});
    ModeRun run(reference.model, {.mode = "no_dp"}, /*max_examples=*/6);
    run.Run(reference.batch);
    ExpectSums(reference, run.gradients(), INFINITY);
  }
}

}  // namespace
}  // namespace sotto::equivalence
