#include "common/spec/hugging_face_config_writer.h"

#include <string>
#include <variant>

#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/spec/hugging_face_config.h"
#include "common/spec/model_dimensions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::spec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The model of a configuration, as a message.
absl::StatusOr<v1::ModelSpec> Read(const std::string& json) {
  ASSIGN_OR_RETURN(const HuggingFaceDimensions dimensions, ParseHuggingFaceConfig(json));
  v1::ModelSpec model;
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&dimensions)) {
    *model.mutable_gpt2() = MessageOf(*gpt2);
  } else {
    *model.mutable_llama() = MessageOf(std::get<layout::LlamaDimensions>(dimensions));
  }
  return model;
}

struct Case {
  const char* name;
  const char* model_type;  // that is written
  const char* json;
};

class RoundTripTest : public ::testing::TestWithParam<Case> {};

TEST_P(RoundTripTest, TheModelComesBack) {
  ASSERT_OK_AND_ASSIGN(const v1::ModelSpec model, Read(GetParam().json));
  ASSERT_OK_AND_ASSIGN(const HuggingFaceConfigText config, FormatHuggingFaceConfig(model, "BF16"));
  EXPECT_EQ(config.model_type, GetParam().model_type);
  EXPECT_THAT(config.json, HasSubstr("\"torch_dtype\": \"bfloat16\""));
  ASSERT_OK_AND_ASSIGN(const v1::ModelSpec again, Read(config.json));
  if (model.has_gpt2()) {
    EXPECT_EQ(DimensionsOf(again.gpt2()), DimensionsOf(model.gpt2())) << config.json;
    return;
  }
  ASSERT_OK_AND_ASSIGN(layout::LlamaDimensions expected, DimensionsOf(model.llama()));
  ASSERT_OK_AND_ASSIGN(const layout::LlamaDimensions found, DimensionsOf(again.llama()));
  // Written out, where the model leaves it to be derived.
  expected.head_width = expected.head_width > 0 ? expected.head_width : found.head_width;
  EXPECT_EQ(found, expected) << config.json;
}

INSTANTIATE_TEST_SUITE_P(
    Models, RoundTripTest,
    ::testing::ValuesIn<Case>({
        {"Gpt2", "gpt2", R"({"model_type": "gpt2"})"},
        {"Gpt2OfOtherParts", "gpt2",
         R"({"model_type": "gpt2", "n_embd": 64, "n_head": 2, "n_inner": 96, "n_positions": 99,
             "activation_function": "relu", "scale_attn_weights": false,
             "scale_attn_by_inverse_layer_idx": true, "tie_word_embeddings": false,
             "layer_norm_epsilon": 1e-6, "initializer_range": 0.03})"},
        {"Llama", "llama", R"({"model_type": "llama"})"},
        {"LlamaWithBiases", "llama",
         R"({"model_type": "llama", "attention_bias": true, "mlp_bias": true, "hidden_act": "gelu",
             "tie_word_embeddings": true, "head_dim": 80, "num_key_value_heads": 8,
             "rms_norm_eps": 1e-4, "rope_theta": 500000})"},
        {"LinearRotation", "llama",
         R"({"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 2.5}})"},
        {"DynamicRotation", "llama",
         R"({"model_type": "llama", "rope_scaling": {"rope_type": "dynamic", "factor": 4}})"},
        {"Llama3Rotation", "llama",
         R"({"model_type": "llama", "rope_theta": 500000.0, "max_position_embeddings": 131072,
             "rope_scaling": {"rope_type": "llama3", "factor": 32, "low_freq_factor": 1.5,
             "high_freq_factor": 4.5, "original_max_position_embeddings": 8192}})"},
        {"YarnRotation", "llama",
         R"({"model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 4,
             "mscale": 1.5, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2,
             "truncate": false, "attention_factor": 0.75,
             "original_max_position_embeddings": 512}})"},
        {"Qwen2", "qwen2", R"({"model_type": "qwen2", "num_key_value_heads": 4})"},
        {"Qwen3", "qwen3", R"({"model_type": "qwen3", "head_dim": 96})"},
        {"Qwen3WithBiases", "qwen3", R"({"model_type": "qwen3", "attention_bias": true})"},
    }),
    [](const auto& info) { return info.param.name; });

// An unset length is the model's own, and stands in the file as such.
TEST(HuggingFaceConfigWriterTest, OriginalLengthsAreWrittenOut) {
  ASSERT_OK_AND_ASSIGN(v1::ModelSpec model, Read(R"({"model_type": "llama"})"));
  v1::RotaryScalingSpec& scaling = *model.mutable_llama()->mutable_rotary_scaling();
  scaling.set_kind(v1::RotaryScalingSpec::LLAMA3);
  scaling.set_factor(8);
  ASSERT_OK_AND_ASSIGN(const HuggingFaceConfigText config, FormatHuggingFaceConfig(model, "F32"));
  EXPECT_THAT(config.json, AllOf(HasSubstr("\"original_max_position_embeddings\": 2048"),
                                 HasSubstr("\"torch_dtype\": \"float32\"")));
}

TEST(HuggingFaceConfigWriterTest, ByteModelsEndWithTheirRecord) {
  ASSERT_OK_AND_ASSIGN(const v1::ModelSpec model,
                       Read(R"({"model_type": "gpt2", "vocab_size": 257})"));
  ASSERT_OK_AND_ASSIGN(const HuggingFaceConfigText config, FormatHuggingFaceConfig(model, "F16"));
  EXPECT_THAT(config.json, HasSubstr("\"eos_token_id\": 256"));
}

TEST(HuggingFaceConfigWriterTest, ModelsWithoutAFormAreRefused) {
  const auto format = [](const v1::ModelSpec& model, const char* dtype = "F32") {
    return FormatHuggingFaceConfig(model, dtype).status();
  };
  const auto refused = [](const char* why) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
  };
  v1::ModelSpec encoder;
  encoder.mutable_encoder();
  EXPECT_THAT(format(encoder), refused("gpt2 and llama"));
  ASSERT_OK_AND_ASSIGN(const v1::ModelSpec llama, Read(R"({"model_type": "llama"})"));
  EXPECT_THAT(format(llama, "F64"), refused("F64"));
  v1::ModelSpec output_bias = llama;
  output_bias.mutable_llama()->set_attention_output_bias(true);
  EXPECT_THAT(format(output_bias), refused("biases"));
  v1::ModelSpec norms = llama;
  norms.mutable_llama()->set_query_key_norm(true);
  norms.mutable_llama()->set_query_key_value_bias(true);
  EXPECT_THAT(format(norms), refused("biases"));
}

}  // namespace
}  // namespace sotto::spec
