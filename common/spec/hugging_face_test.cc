#include <fstream>
#include <string>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/spec/hugging_face_config.h"
#include "common/spec/hugging_face_model.h"
#include "common/spec/model_dimensions.h"
#include "common/spec/model_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::spec {
namespace {

using ::testing::HasSubstr;

layout::LlamaDimensions Llama(const std::string& json) {
  auto dimensions = ParseHuggingFaceConfig(json);
  EXPECT_OK(dimensions.status());
  return std::get<layout::LlamaDimensions>(*dimensions);
}

TEST(HuggingFaceConfigTest, MissingKeysHaveTheLibrarysDefaults) {
  ASSERT_OK_AND_ASSIGN(const HuggingFaceDimensions parsed,
                       ParseHuggingFaceConfig(R"({"model_type": "gpt2"})"));
  const auto& gpt2 = std::get<layout::Gpt2Dimensions>(parsed);
  EXPECT_EQ(
      gpt2,
      (layout::Gpt2Dimensions{
          .vocabulary_size = 50257, .width = 768, .layers = 12, .heads = 12, .max_length = 1024}));
  const layout::LlamaDimensions llama = Llama(R"({"model_type": "llama"})");
  EXPECT_EQ(llama.vocabulary_size, 32000);
  EXPECT_EQ(llama.key_value_heads, 32);
  EXPECT_EQ(llama.mlp_width, 11008);
  EXPECT_EQ(llama.rms_norm_epsilon, 1e-6);
  EXPECT_FALSE(llama.tied_head);
}

TEST(HuggingFaceConfigTest, NullCountsAsMissingAndAliasesAreKnown) {
  ASSERT_OK_AND_ASSIGN(const HuggingFaceDimensions parsed,
                       ParseHuggingFaceConfig(R"({"architectures": ["GPT2LMHeadModel"],
      "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3, "n_inner": null,
      "max_position_embeddings": 99, "activation_function": "relu",
      "scale_attn_by_inverse_layer_idx": true, "tie_word_embeddings": false})"));
  const auto& gpt2 = std::get<layout::Gpt2Dimensions>(parsed);
  EXPECT_EQ(gpt2.width, 64);
  EXPECT_EQ(gpt2.layers, 3);
  EXPECT_EQ(gpt2.max_length, 99);
  EXPECT_EQ(gpt2.mlp_width, 0);
  EXPECT_EQ(gpt2.activation, layout::Activation::kRelu);
  EXPECT_TRUE(gpt2.scale_attention_by_layer);
  EXPECT_FALSE(gpt2.tied_head);
}

TEST(HuggingFaceConfigTest, RotaryScalingIsReadFromEitherKey) {
  const layout::LlamaDimensions old = Llama(R"({"model_type": "llama", "rope_theta": 500000,
      "rope_scaling": {"type": "linear", "factor": 2}})");
  EXPECT_EQ(old.rotary.base, 500000);
  EXPECT_EQ(old.rotary.scaling, layout::RotaryScaling::kLinear);
  const layout::LlamaDimensions current = Llama(R"({"model_type": "llama",
      "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}})");
  EXPECT_EQ(current.rotary.scaling, layout::RotaryScaling::kLlama3);
  EXPECT_EQ(current.rotary.base, 500000);
  EXPECT_EQ(current.rotary.original_max_length, 8192);
}

TEST(HuggingFaceConfigTest, QwensAreLlamasWithBiasesOrNorms) {
  const layout::LlamaDimensions two = Llama(R"({"model_type": "qwen2", "hidden_size": 64,
      "num_attention_heads": 4, "num_key_value_heads": null, "sliding_window": 4096,
      "layer_types": ["full_attention"], "rope_theta": 1000000.0})");
  EXPECT_TRUE(two.query_key_value_bias);
  EXPECT_FALSE(two.attention_output_bias || two.mlp_bias || two.query_key_norm);
  EXPECT_EQ(two.key_value_heads, 4);
  EXPECT_EQ(two.vocabulary_size, 151936);
  EXPECT_EQ(two.rotary.base, 1000000);
  const layout::LlamaDimensions three = Llama(R"({"architectures": ["Qwen3ForCausalLM"],
      "attention_bias": false, "tie_word_embeddings": true})");
  EXPECT_TRUE(three.query_key_norm && three.tied_head);
  EXPECT_FALSE(three.query_key_value_bias || three.attention_output_bias);
  EXPECT_EQ(three.head_width, 128);
  EXPECT_EQ(three.key_value_heads, 32);
}

TEST(HuggingFaceConfigTest, FaultsNameTheirKey) {
  struct Case {
    const char* json;
    const char* message;
  };
  const Case cases[] = {
      {"[]", "JSON object"},
      {"{", "JSON object"},
      {R"({"model_type": "bert"})", "bert"},
      {R"({})", "model_type"},
      {R"({"model_type": "gpt2", "n_embd": "64"})", "n_embd"},
      {R"({"model_type": "gpt2", "n_layer": 1.5})", "n_layer"},
      {R"({"model_type": "gpt2", "n_layer": 1000000000})", "n_layer must be at most 10000"},
      {R"({"model_type": "gpt2", "num_hidden_layers": 10001})", "num_hidden_layers must be"},
      {R"({"model_type": "llama", "num_hidden_layers": 1e9})", "num_hidden_layers must be"},
      {R"({"model_type": "gpt2", "activation_function": "mish"})", "mish"},
      {R"({"model_type": "gpt2", "add_cross_attention": true})", "add_cross_attention"},
      {R"({"model_type": "llama", "quantization_config": {}})", "quantization_config"},
      {R"({"model_type": "llama", "rope_scaling": {"rope_type": "longrope"}})", "longrope"},
      {R"({"model_type": "llama", "rope_scaling": {"rope_type": "linear"}})", "factor"},
      {R"({"model_type": "llama", "rope_scaling": 2})", "rope_scaling"},
      {R"({"model_type": "llama", "rope_parameters": {"rope_type": "llama3", "factor": 8}})",
       "low_freq_factor"},
      {R"({"model_type": "llama", "partial_rotary_factor": 0.5})", "partial_rotary_factor"},
      {R"({"model_type": "llama", "attention_bias": 1})", "attention_bias"},
      {R"({"model_type": "qwen2", "use_sliding_window": true})", "use_sliding_window"},
      {R"({"model_type": "qwen3", "layer_types": ["sliding_attention"]})", "sliding_attention"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ParseHuggingFaceConfig(c.json),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.json;
  }
}

TEST(ModelDimensionsTest, MessagesKeepTheDimensions) {
  layout::Gpt2Dimensions gpt2{.vocabulary_size = 50,
                              .width = 8,
                              .layers = 2,
                              .heads = 2,
                              .max_length = 9,
                              .tied_head = false,
                              .layer_norm_epsilon = 1e-6,
                              .mlp_width = 12,
                              .activation = layout::Activation::kGelu,
                              .scale_attention = false,
                              .scale_attention_by_layer = true};
  EXPECT_EQ(DimensionsOf(MessageOf(gpt2)), gpt2);
  const layout::LlamaDimensions llama = Llama(R"({"model_type": "llama", "head_dim": 80,
      "attention_bias": true, "mlp_bias": true, "hidden_act": "gelu", "tie_word_embeddings": true,
      "rope_scaling": {"rope_type": "yarn", "factor": 4, "mscale": 1.5, "mscale_all_dim": 0.5,
        "beta_fast": 16, "truncate": false, "original_max_position_embeddings": 512}})");
  ASSERT_OK_AND_ASSIGN(const layout::LlamaDimensions again, DimensionsOf(MessageOf(llama)));
  EXPECT_EQ(again, llama);
  const layout::LlamaDimensions qwen = Llama(R"({"model_type": "qwen3"})");
  ASSERT_OK_AND_ASSIGN(const layout::LlamaDimensions qwen_again, DimensionsOf(MessageOf(qwen)));
  EXPECT_TRUE(qwen_again.query_key_norm);
  EXPECT_EQ(qwen_again.head_width, qwen.head_width);
}

TEST(CompleteModelTest, DirectoryGivesTheFamilyUnlessOneIsNamed) {
  const std::string directory = testing::TempDir();
  ASSERT_OK(AtomicWriteFile(directory + "/config.json", R"({"model_type": "llama",
      "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 80, "vocab_size": 97})"));
  v1::ModelSpec model;
  model.set_hugging_face_directory(directory);
  ASSERT_OK(CompleteModel(model));
  EXPECT_EQ(model.llama().hidden_width(), 80);
  ASSERT_OK_AND_ASSIGN(const layout::ModelDescription description, DescribeModel(model));
  EXPECT_EQ(description.vocabulary_size, 97);

  v1::ModelSpec named;
  named.set_hugging_face_directory(directory);
  named.mutable_gpt2();
  ASSERT_OK(CompleteModel(named));
  EXPECT_TRUE(named.has_gpt2());

  v1::ModelSpec lost;
  lost.set_hugging_face_directory(directory + "/none");
  EXPECT_THAT(CompleteModel(lost), StatusIs(absl::StatusCode::kNotFound));
}

TEST(DescribeModelTest, AdaptationIsApplied) {
  v1::ModelSpec model;
  v1::EncoderSpec& encoder = *model.mutable_encoder();
  encoder.set_vocabulary_size(10);
  encoder.set_width(8);
  encoder.set_layers(1);
  encoder.set_heads(2);
  encoder.set_max_length(4);
  encoder.set_classes(3);
  model.mutable_adaptation()->mutable_lora()->set_rank(2);
  ASSERT_OK_AND_ASSIGN(const layout::ModelDescription description, DescribeModel(model));
  EXPECT_FALSE(description.units[0].has_trainable());
  EXPECT_TRUE(description.units[1].has_trainable());
  EXPECT_EQ(description.lora_alpha, 2);
  model.mutable_adaptation()->add_frozen("missing");
  EXPECT_THAT(DescribeModel(model),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("missing")));
}

}  // namespace
}  // namespace sotto::spec
