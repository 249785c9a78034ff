// Every family that is not GPT-2 under every gradient mode, on the path that training takes,
// against autograd in float64 over one example at a time.
#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "common/layout/encoder_description.h"
#include "common/layout/image_descriptions.h"
#include "common/layout/llama_description.h"
#include "gtest/gtest.h"
#include "tests/equivalence/example_gradient.h"
#include "tests/equivalence/mode_run.h"
#include "tests/equivalence/reference.h"
#include "tests/models/autograd_images.h"
#include "tools/check/autograd_encoder.h"
#include "tools/check/autograd_gradient.h"
#include "tools/check/autograd_llama.h"

namespace sotto::equivalence {
namespace {

constexpr layout::PatchGrid kGrid = {.channels = 2, .image_size = 6, .patch_size = 3};
constexpr int64_t kVocabulary = 23;
constexpr int64_t kTimeSteps = 50;
constexpr int64_t kOutputs = 3;  // classes and target values

struct Family {
  std::string name;
  layout::ModelDescription description;
  int64_t tokens = 9;  // of a record, where there are some
};

std::vector<Family> Families() {
  using layout::Loss;
  const layout::MlpDimensions mlp = {.inputs = 72, .hidden_widths = {10, 7}, .outputs = kOutputs};
  layout::MlpDimensions regression = mlp;
  regression.activation = layout::Activation::kGelu;
  regression.loss = Loss::kMeanSquaredError;
  const layout::CnnDimensions cnn = {.channels = 2,
                                     .height = 6,
                                     .width = 6,
                                     .stage_channels = {4, 6},
                                     .groups = 2,
                                     .outputs = kOutputs};
  layout::VitDimensions vit = {
      .grid = kGrid, .width = 8, .layers = 2, .heads = 2, .outputs = kOutputs};
  layout::VitDimensions vit_regression = vit;
  vit_regression.loss = Loss::kMeanSquaredError;
  layout::DitDimensions dit = {.grid = kGrid,
                               .width = 8,
                               .layers = 2,
                               .heads = 2,
                               .classes = kOutputs,
                               .time_steps = kTimeSteps};
  layout::DitDimensions unconditional = dit;
  unconditional.classes = 0;
  layout::LlamaDimensions qwen2 = {.vocabulary_size = kVocabulary,
                                   .width = 12,
                                   .layers = 2,
                                   .heads = 4,
                                   .key_value_heads = 2,
                                   .head_width = 4,
                                   .mlp_width = 20,
                                   .max_length = 16,
                                   .query_key_value_bias = true};
  layout::LlamaDimensions qwen3 = qwen2;
  qwen3.query_key_value_bias = false;
  qwen3.query_key_norm = true;
  qwen3.tied_head = true;
  const layout::EncoderDimensions encoder = {.vocabulary_size = kVocabulary,
                                             .width = 8,
                                             .layers = 2,
                                             .heads = 2,
                                             .max_length = 9,
                                             .classes = kOutputs};
  return {
      {"Mlp", *layout::MakeMlpDescription(mlp)},
      {"MlpRegression", *layout::MakeMlpDescription(regression)},
      {"LinearMap", *layout::MakeMlpDescription({.inputs = 72, .outputs = kOutputs})},
      {"Cnn", *layout::MakeCnnDescription(cnn)},
      {"Vit", *layout::MakeVitDescription(vit)},
      {"VitRegression", *layout::MakeVitDescription(vit_regression)},
      {"Dit", *layout::MakeDitDescription(dit)},
      {"UnconditionalDit", *layout::MakeDitDescription(unconditional)},
      {"Qwen2", *layout::MakeLlamaDescription(qwen2)},
      {"Qwen3", *layout::MakeLlamaDescription(qwen3)},
      {"Encoder", *layout::MakeEncoderDescription(encoder)},
      {"EncoderOfOneToken", *layout::MakeEncoderDescription(encoder), /*tokens=*/1},
  };
}

// With a dummy at the end.
models::MicroBatch ImageBatch(int64_t examples) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const int64_t all = examples + 1;
  const auto normals = [&](std::vector<int64_t> sizes) {
    return at::empty(sizes).normal_(0, 1, generator);
  };
  models::MicroBatch batch{
      .tokens_BT = at::zeros({all, 1}, at::kLong),
      .loss_mask_BT = at::zeros({all, 1}),
      .labels_B = at::randint(kOutputs, {all}, generator, at::kLong),
      .values_BCHW = normals({all, kGrid.channels, kGrid.image_size, kGrid.image_size}),
      .targets_BK = normals({all, kOutputs}),
      .noise_BCHW = normals({all, kGrid.channels, kGrid.image_size, kGrid.image_size}),
      .time_steps_B = at::randint(kTimeSteps, {all}, generator, at::kLong)};
  for (int64_t b = 0; b < examples; ++b) batch.example_ids.push_back(b);
  batch.example_ids.push_back(-1);
  batch.labels_B[examples] = -1;
  return batch;
}

// Records of `tokens` tokens with labels, and a dummy at the end.
models::MicroBatch LabelledBatch(int64_t examples, int64_t tokens) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(8);
  const int64_t all = examples + 1;
  models::MicroBatch batch{
      .tokens_BT = at::randint(kVocabulary, {all, tokens}, generator, at::kLong),
      .loss_mask_BT = at::zeros({all, tokens}),
      .labels_B = at::randint(kOutputs, {all}, generator, at::kLong)};
  for (int64_t b = 0; b < examples; ++b) batch.example_ids.push_back(b);
  batch.example_ids.push_back(-1);
  batch.labels_B[examples] = -1;
  return batch;
}

models::MicroBatch BatchOf(const Family& family, int64_t examples) {
  if (std::holds_alternative<layout::EncoderDimensions>(family.description.family)) {
    return LabelledBatch(examples, family.tokens);
  }
  const bool is_language = family.description.vocabulary_size > 0;
  return is_language ? MakeMicroBatch(examples, family.tokens, kVocabulary, /*seed=*/6)
                     : ImageBatch(examples);
}

ExampleGradient ExampleOf(const TestModel& model, const models::MicroBatch& batch, int64_t b) {
  const auto* llama = std::get_if<layout::LlamaDimensions>(&model.description.family);
  const auto* encoder = std::get_if<layout::EncoderDimensions>(&model.description.family);
  return check::AutogradOf(
      model.description, model.parameters, [&](const check::NamedTensors& named) {
        if (llama != nullptr) {
          return LanguageLoss(check::AutogradLlamaLogits(*llama, named, batch.tokens_BT[b]),
                              batch.tokens_BT[b], batch.loss_mask_BT[b], /*is_mean=*/true);
        }
        if (encoder != nullptr) {
          return check::AutogradEncoderLoss(*encoder, named, batch.tokens_BT[b],
                                            batch.labels_B[b].item<int64_t>());
        }
        return AutogradImageLoss(model.description, named,
                                 {.values_CHW = batch.values_BCHW[b],
                                  .label = batch.labels_B[b].item<int64_t>(),
                                  .targets_K = batch.targets_BK[b],
                                  .noise_CHW = batch.noise_BCHW[b],
                                  .time_step = batch.time_steps_B[b].item<int64_t>()});
      });
}

// Made once for all modes.
const Reference& ReferenceOf(const Family& family) {
  static auto& references = *new std::map<std::string, Reference>;
  constexpr int64_t kExamples = 4;
  const auto [found, is_new] = references.try_emplace(
      family.name, Reference{.model = MakeTestModel(family.description, /*stddev=*/0.3, /*seed=*/5),
                             .batch = BatchOf(family, kExamples)});
  Reference& reference = found->second;
  if (!is_new) return reference;
  for (int64_t b = 0; b < kExamples; ++b) {
    reference.examples.push_back(ExampleOf(reference.model, reference.batch, b));
  }
  return reference;
}

struct Case {
  Family family;
  ClippingMode mode;
};

// Keeps the bytes of a case out of messages.
void PrintTo(const Case& c, std::ostream* out) { *out << c.family.name << c.mode.name; }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Family& family : Families()) {
    for (const ClippingMode& mode : ClippingModes()) cases.push_back({family, mode});
  }
  return cases;
}

class FamilyGradientsTest : public ::testing::TestWithParam<Case> {
 protected:
  // Tensors of a few hundred elements: threads would only wait for each other.
  static void SetUpTestSuite() { at::set_num_threads(1); }
};

TEST_P(FamilyGradientsTest, LossesNormsAndClippedSumsEqualTheFloat64Loop) {
  const Reference& reference = ReferenceOf(GetParam().family);
  for (const ExampleGradient& example : reference.examples) ASSERT_GT(example.norm, 0);
  const double clip_norm = reference.ClipNorm();
  ModeRun run(reference.model,
              {.mode = GetParam().mode.mode,
               .deferred_norms = GetParam().mode.deferred_norms,
               .applied_clip_norm = clip_norm},
              reference.batch.tokens_BT.size(0));
  const at::Tensor losses_B = run.Losses(reference.batch);
  run.Run(reference.batch);
  ExpectLosses(reference, losses_B);
  ExpectNorms(reference, run, /*of_largest=*/0);
  if (losses_B.size(0) > static_cast<int64_t>(reference.examples.size())) {
    EXPECT_EQ(losses_B[-1].item<double>(), 0) << "of the dummy";
  }
  ExpectSums(reference, run.gradients(), clip_norm);
}

INSTANTIATE_TEST_SUITE_P(Cases, FamilyGradientsTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return info.param.family.name + info.param.mode.name;
                         });

TEST(UnclippedFamiliesTest, NoDpIsTheSumOfUnclippedGradientsWithoutTheDummy) {
  for (const Family& family : Families()) {
    SCOPED_TRACE(family.name);
    const Reference& reference = ReferenceOf(family);
    ModeRun run(reference.model, {.mode = "no_dp"}, reference.batch.tokens_BT.size(0));
    run.Run(reference.batch);
    ExpectSums(reference, run.gradients(), INFINITY);
  }
}

}  // namespace
}  // namespace sotto::equivalence
