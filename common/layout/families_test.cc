// Llama and the encoder as units, rotary frequencies, adaptations.
#include <cmath>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/layout/adaptation.h"
#include "common/layout/encoder_description.h"
#include "common/layout/llama_description.h"
#include "common/layout/rotary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LlamaDimensions SmallLlama() {
  return {.vocabulary_size = 97,
          .width = 32,
          .layers = 2,
          .heads = 4,
          .key_value_heads = 2,
          .mlp_width = 80,
          .max_length = 64};
}

EncoderDimensions SeedEncoder() {
  return {.vocabulary_size = 10000,
          .width = 512,
          .layers = 3,
          .heads = 8,
          .mlp_width = 2048,
          .max_length = 128,
          .classes = 10};
}

const ParameterDescription* Find(const ModelDescription& model, const std::string& name) {
  for (const UnitDescription& unit : model.units) {
    for (const ParameterDescription& parameter : unit.parameters) {
      if (parameter.name == name) return &parameter;
    }
  }
  return nullptr;
}

std::vector<std::string> Trainable(const ModelDescription& model) {
  std::vector<std::string> names;
  for (const UnitDescription& unit : model.units) {
    for (const ParameterDescription& parameter : unit.parameters) {
      if (parameter.trainable) names.push_back(parameter.name);
    }
  }
  return names;
}

TEST(LlamaDescriptionTest, ShapesAreThoseOfHuggingFace) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeLlamaDescription(SmallLlama()));
  EXPECT_EQ(model.units.size(), 3);
  EXPECT_THAT(model.stages, ElementsAre(0, 1, 2, 0));
  EXPECT_EQ(model.vocabulary_size, 97);
  EXPECT_THAT(Find(model, "layers.1.self_attn.k_proj.weight")->shape, ElementsAre(16, 32));
  EXPECT_THAT(Find(model, "layers.0.mlp.down_proj.weight")->shape, ElementsAre(32, 80));
  EXPECT_EQ(Find(model, "layers.0.self_attn.q_proj.bias"), nullptr);
  // Embedding and head, final norm, and per block four projections, three MLP maps, two norms.
  EXPECT_EQ(model.num_elements(),
            2 * 97 * 32 + 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 80 * 32 + 2 * 32));
}

TEST(LlamaDescriptionTest, TiedModelHasNoHeadAndBiasesFollowTheirWeights) {
  LlamaDimensions dimensions = SmallLlama();
  dimensions.tied_head = true;
  dimensions.query_key_value_bias = true;
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeLlamaDescription(dimensions));
  EXPECT_EQ(Find(model, "lm_head.weight"), nullptr);
  EXPECT_THAT(Find(model, "layers.0.self_attn.v_proj.bias")->shape, ElementsAre(16));
  EXPECT_EQ(Find(model, "layers.0.self_attn.o_proj.bias"), nullptr);
}

TEST(LlamaDescriptionTest, NormsOfQueriesAndKeysHaveARowPerHead) {
  LlamaDimensions dimensions = SmallLlama();
  dimensions.query_key_norm = true;
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeLlamaDescription(dimensions));
  EXPECT_THAT(Find(model, "layers.1.self_attn.k_norm.weight")->shape, ElementsAre(8));
  for (const LayerDescription& layer : model.units[1].layers) {
    if (layer.name == "layers.0.self_attn.q_norm") EXPECT_EQ(layer.Rows(5), 4 * 5);
    if (layer.name == "layers.0.self_attn.k_norm") EXPECT_EQ(layer.Rows(5), 2 * 5);
  }
}

TEST(LlamaDescriptionTest, LlamaOfABillionParametersIsCounted) {
  const LlamaDimensions dimensions = {.vocabulary_size = 128256,
                                      .width = 2048,
                                      .layers = 16,
                                      .heads = 32,
                                      .key_value_heads = 8,
                                      .head_width = 64,
                                      .mlp_width = 8192,
                                      .max_length = 131072,
                                      .tied_head = true};
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeLlamaDescription(dimensions));
  EXPECT_EQ(model.num_elements(), 1'235'814'400);
}

TEST(LlamaDescriptionTest, DimensionsThatMakeNoModelAreRefused) {
  struct Case {
    const char* name;
    void (*change)(LlamaDimensions&);
    const char* message;
  };
  const Case cases[] = {
      {"heads", [](LlamaDimensions& d) { d.heads = 5, d.head_width = 8; }, "divisible"},
      {"odd head", [](LlamaDimensions& d) { d.head_width = 7; }, "even"},
      {"mlp", [](LlamaDimensions& d) { d.mlp_width = 0; }, "mlp_width"},
      {"epsilon", [](LlamaDimensions& d) { d.rms_norm_epsilon = std::nan(""); }, "rms_norm"},
      {"factor", [](LlamaDimensions& d) { d.rotary.factor = -1; }, "rotary.factor"},
  };
  for (const Case& c : cases) {
    LlamaDimensions dimensions = SmallLlama();
    c.change(dimensions);
    EXPECT_THAT(MakeLlamaDescription(dimensions),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.name;
  }
}

TEST(EncoderDescriptionTest, SeedModelHasItsParameterCount) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeEncoderDescription(SeedEncoder()));
  EXPECT_EQ(model.num_elements(), 14'635'008);
  EXPECT_TRUE(model.units[0].layers.back().one_row_per_example);
}

TEST(EncoderDescriptionTest, OneClassIsRefused) {
  EncoderDimensions dimensions = SeedEncoder();
  dimensions.classes = 1;
  EXPECT_THAT(MakeEncoderDescription(dimensions),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("classes")));
}

TEST(DescriptionTest, EveryParameterBelongsToOneLayer) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription llama, MakeLlamaDescription(SmallLlama()));
  ASSERT_OK_AND_ASSIGN(const ModelDescription encoder, MakeEncoderDescription(SeedEncoder()));
  for (const ModelDescription* model : {&llama, &encoder}) {
    for (const UnitDescription& unit : model->units) {
      std::vector<int> owners(unit.parameters.size());
      for (const LayerDescription& layer : unit.layers) {
        for (int parameter : layer.parameters) ++owners[parameter];
      }
      EXPECT_THAT(owners, testing::Each(1)) << unit.name;
    }
  }
}

TEST(RotaryTest, FrequenciesFallGeometrically) {
  const RotaryFrequencies rotary = ComputeRotaryFrequencies({}, 8, 64, 64);
  EXPECT_EQ(rotary.frequencies, (std::vector<float>{1, 0.1f, 0.01f, 0.001f}));
  EXPECT_EQ(rotary.magnitude, 1);
}

TEST(RotaryTest, LinearScalingDividesAll) {
  const RotaryFrequencies rotary =
      ComputeRotaryFrequencies({.scaling = RotaryScaling::kLinear, .factor = 4}, 4, 64, 64);
  EXPECT_EQ(rotary.frequencies, (std::vector<float>{0.25f, 0.0025f}));
}

TEST(RotaryTest, Llama3ScalingKeepsHighAndDividesLowFrequencies) {
  const RotaryFrequencies rotary = ComputeRotaryFrequencies(
      {.base = 500000, .scaling = RotaryScaling::kLlama3, .factor = 8, .original_max_length = 8192},
      64, 131072, 100);
  const RotaryFrequencies plain = ComputeRotaryFrequencies({.base = 500000}, 64, 131072, 100);
  EXPECT_EQ(rotary.frequencies.front(), plain.frequencies.front());
  EXPECT_EQ(rotary.frequencies.back(), plain.frequencies.back() / 8);
}

// Only beyond the model's own length.
TEST(RotaryTest, DynamicScalingGrowsWithTheSequence) {
  const RotaryPositions positions{.scaling = RotaryScaling::kDynamic, .factor = 2};
  EXPECT_EQ(ComputeRotaryFrequencies(positions, 8, 64, 64),
            ComputeRotaryFrequencies({}, 8, 64, 64));
  EXPECT_LT(ComputeRotaryFrequencies(positions, 8, 64, 128).frequencies[1], 0.1f);
}

TEST(RotaryTest, YarnScalingHasAMagnitude) {
  const RotaryFrequencies rotary = ComputeRotaryFrequencies(
      {.scaling = RotaryScaling::kYarn, .factor = 4, .original_max_length = 16}, 8, 64, 64);
  EXPECT_FLOAT_EQ(rotary.magnitude, static_cast<float>(0.1 * std::log(4.0) + 1));
  EXPECT_EQ(rotary.frequencies.back(), 0.001f / 4);
}

// What `transformers` 5.23 computes for heads of 16: the ramps between the ends, too.
struct ReferenceFrequencies {
  RotaryPositions positions;
  std::vector<float> frequencies;
  float magnitude = 1;
};

TEST(RotaryTest, RampsAreThoseOfTransformers) {
  const std::vector<ReferenceFrequencies> references = {
      {{.base = 500000,
        .scaling = RotaryScaling::kLlama3,
        .factor = 32,
        .original_max_length = 8192},
       {1, 0.193922758f, 0.0376060307f, 0.00729266508f, 0.000429556705f, 8.57025589e-06f,
        1.66196742e-06f, 3.22293289e-07f}},
      {{.scaling = RotaryScaling::kYarn, .factor = 4, .original_max_length = 4096},
       {1, 0.316227764f, 0.100000001f, 0.025693506f, 0.00624999963f, 0.00138349656f,
        0.000250000012f, 7.90569466e-05f},
       1.138629436f},
      {{.scaling = RotaryScaling::kYarn,
        .factor = 4,
        .original_max_length = 4096,
        .beta_fast = 16,
        .beta_slow = 2,
        .attention_scale = 1.5,
        .attention_scale_all_dims = 0.5,
        .truncate = false},
       {1, 0.316227764f, 0.100000001f, 0.0316227786f, 0.00676161889f, 0.000825104478f,
        0.000250000012f, 7.90569466e-05f},
       1.129643251f}};
  for (const ReferenceFrequencies& reference : references) {
    const RotaryFrequencies rotary =
        ComputeRotaryFrequencies(reference.positions, /*head_width=*/16, 131072, 100);
    ASSERT_EQ(rotary.frequencies.size(), reference.frequencies.size());
    for (size_t j = 0; j < reference.frequencies.size(); ++j) {
      EXPECT_NEAR(rotary.frequencies[j], reference.frequencies[j], 1e-6 * reference.frequencies[j]);
    }
    EXPECT_FLOAT_EQ(rotary.magnitude, reference.magnitude);
  }
}

TEST(AdaptationTest, LoraTrainsItsMatricesAlone) {
  ASSERT_OK_AND_ASSIGN(ModelDescription model, MakeLlamaDescription(SmallLlama()));
  ASSERT_OK(Adapt({.lora = LoraAdaptation{.rank = 3, .alpha = 6, .targets = {"q_proj"}}}, model));
  EXPECT_THAT(Trainable(model), ElementsAre("layers.0.self_attn.q_proj.lora_A.weight",
                                            "layers.0.self_attn.q_proj.lora_B.weight",
                                            "layers.1.self_attn.q_proj.lora_A.weight",
                                            "layers.1.self_attn.q_proj.lora_B.weight"));
  EXPECT_THAT(Find(model, "layers.0.self_attn.q_proj.lora_A.weight")->shape, ElementsAre(3, 32));
  EXPECT_THAT(Find(model, "layers.0.self_attn.q_proj.lora_B.weight")->shape, ElementsAre(32, 3));
  EXPECT_EQ(Find(model, "layers.0.self_attn.q_proj.lora_B.weight")->init, Init::kZeros);
  EXPECT_EQ(model.lora_alpha, 6);
}

TEST(AdaptationTest, LoraWithoutTargetsTakesTheAttention) {
  ASSERT_OK_AND_ASSIGN(ModelDescription model, MakeLlamaDescription(SmallLlama()));
  ASSERT_OK(Adapt({.lora = LoraAdaptation{.rank = 2}}, model));
  EXPECT_EQ(Trainable(model).size(), 2 * 4 * 2);
  EXPECT_EQ(model.lora_alpha, 2);
  EXPECT_EQ(Find(model, "layers.0.mlp.up_proj.lora_A.weight"), nullptr);
}

TEST(AdaptationTest, BiasOnlyTrainsBiases) {
  ASSERT_OK_AND_ASSIGN(ModelDescription model, MakeEncoderDescription(SeedEncoder()));
  ASSERT_OK(Adapt({.bias_only = true}, model));
  EXPECT_EQ(Trainable(model).size(), 1 + 2 * 3);
  EXPECT_EQ(Trainable(model).front(), "norm.bias");
}

TEST(AdaptationTest, PatternsFreezeWithAndWithoutTheFilesPrefix) {
  ASSERT_OK_AND_ASSIGN(ModelDescription model, MakeLlamaDescription(SmallLlama()));
  ASSERT_OK(Adapt({.frozen = {"model.embed_tokens.weight", "layers.*.mlp.*", "lm_head*"}}, model));
  EXPECT_FALSE(Find(model, "embed_tokens.weight")->trainable);
  EXPECT_FALSE(Find(model, "layers.1.mlp.gate_proj.weight")->trainable);
  EXPECT_FALSE(Find(model, "lm_head.weight")->trainable);
  EXPECT_TRUE(Find(model, "layers.1.self_attn.o_proj.weight")->trainable);
  EXPECT_TRUE(Find(model, "norm.weight")->trainable);
}

TEST(AdaptationTest, WhatFitsNothingIsRefused) {
  struct Case {
    Adaptation adaptation;
    const char* message;
  };
  const Case cases[] = {
      {{.lora = LoraAdaptation{.rank = 0}}, "rank"},
      {{.lora = LoraAdaptation{.rank = 1, .alpha = std::nan("")}}, "alpha"},
      {{.lora = LoraAdaptation{.rank = 1, .targets = {"q_proj", "c_attn"}}}, "c_attn"},
      {{.bias_only = true}, "no parameter to train"},
      {{.frozen = {"h.*"}}, "h.*"},
      {{.frozen = {"*"}}, "no parameter to train"},
  };
  for (const Case& c : cases) {
    ASSERT_OK_AND_ASSIGN(ModelDescription model, MakeLlamaDescription(SmallLlama()));
    EXPECT_THAT(Adapt(c.adaptation, model),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace sotto::layout
