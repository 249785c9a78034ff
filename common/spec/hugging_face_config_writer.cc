#include "common/spec/hugging_face_config_writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/spec/model_dimensions.h"
#include "nlohmann/json.hpp"

namespace sotto::spec {
namespace {

using Json = nlohmann::ordered_json;
using layout::Activation;
using layout::LlamaDimensions;
using layout::RotaryScaling;

constexpr int kByteVocabulary = 257;  // 256 bytes and the end of a record
constexpr int kEndOfRecord = 256;

const char* NameOf(Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return "gelu_new";
    case Activation::kGelu:
      return "gelu";
    case Activation::kRelu:
      return "relu";
    case Activation::kSilu:
      return "silu";
  }
  return "gelu_new";
}

const char* NameOf(RotaryScaling scaling) {
  switch (scaling) {
    case RotaryScaling::kNone:
      return "default";
    case RotaryScaling::kLinear:
      return "linear";
    case RotaryScaling::kDynamic:
      return "dynamic";
    case RotaryScaling::kYarn:
      return "yarn";
    case RotaryScaling::kLlama3:
      return "llama3";
  }
  return "default";
}

absl::StatusOr<std::string> DtypeName(absl::string_view dtype) {
  if (dtype == "F32") return "float32";
  if (dtype == "BF16") return "bfloat16";
  if (dtype == "F16") return "float16";
  return absl::InvalidArgumentError(absl::StrCat("dtype must be F32, BF16 or F16, but is ", dtype));
}

Json Gpt2Config(const layout::Gpt2Dimensions& gpt2) {
  Json config = {
      {"model_type", "gpt2"},
      {"architectures", {"GPT2LMHeadModel"}},
      {"activation_function", NameOf(gpt2.activation)},
      {"vocab_size", gpt2.vocabulary_size},
      {"n_embd", gpt2.width},
      {"n_layer", gpt2.layers},
      {"n_head", gpt2.heads},
      {"n_positions", gpt2.max_length},
      {"layer_norm_epsilon", gpt2.layer_norm_epsilon},
      {"initializer_range", gpt2.init_stddev},
      {"tie_word_embeddings", gpt2.tied_head},
      {"scale_attn_weights", gpt2.scale_attention},
      {"scale_attn_by_inverse_layer_idx", gpt2.scale_attention_by_layer},
      {"attn_pdrop", 0.0},
      {"embd_pdrop", 0.0},
      {"resid_pdrop", 0.0},
  };
  if (gpt2.mlp_width > 0) config["n_inner"] = gpt2.mlp_width;
  return config;
}

// Which of the library's families has these biases and norms; empty: none.
absl::string_view FamilyOf(const LlamaDimensions& llama) {
  const bool same_biases = llama.query_key_value_bias == llama.attention_output_bias;
  if (llama.query_key_norm) return same_biases && !llama.mlp_bias ? "qwen3" : "";
  if (same_biases) return "llama";
  return llama.query_key_value_bias && !llama.mlp_bias ? "qwen2" : "";
}

Json ScalingConfig(const LlamaDimensions& llama) {
  const layout::RotaryPositions& rotary = llama.rotary;
  Json scaling = {{"rope_type", NameOf(rotary.scaling)}, {"factor", rotary.factor}};
  if (rotary.scaling == RotaryScaling::kYarn || rotary.scaling == RotaryScaling::kLlama3) {
    scaling["original_max_position_embeddings"] =
        rotary.original_max_length > 0 ? rotary.original_max_length : llama.max_length;
  }
  if (rotary.scaling == RotaryScaling::kLlama3) {
    scaling["low_freq_factor"] = rotary.low_frequency_factor;
    scaling["high_freq_factor"] = rotary.high_frequency_factor;
  }
  if (rotary.scaling == RotaryScaling::kYarn) {
    scaling["beta_fast"] = rotary.beta_fast;
    scaling["beta_slow"] = rotary.beta_slow;
    scaling["truncate"] = rotary.truncate;
    if (rotary.attention_factor != 0) scaling["attention_factor"] = rotary.attention_factor;
    if (rotary.attention_scale != 0) scaling["mscale"] = rotary.attention_scale;
    if (rotary.attention_scale_all_dims != 0) {
      scaling["mscale_all_dim"] = rotary.attention_scale_all_dims;
    }
  }
  return scaling;
}

absl::StatusOr<Json> LlamaConfig(const LlamaDimensions& llama) {
  const absl::string_view family = FamilyOf(llama);
  if (family.empty()) {
    return absl::InvalidArgumentError(
        "no Hugging Face model has this choice of biases and of query and key norms");
  }
  const bool has_attention_bias_key = family != "qwen2";  // There they are always as here.
  Json config = {
      {"model_type", std::string(family)},
      {"architectures",
       {family == "llama"   ? "LlamaForCausalLM"
        : family == "qwen2" ? "Qwen2ForCausalLM"
                            : "Qwen3ForCausalLM"}},
      {"vocab_size", llama.vocabulary_size},
      {"hidden_size", llama.width},
      {"intermediate_size", llama.mlp_width},
      {"num_hidden_layers", llama.layers},
      {"num_attention_heads", llama.heads},
      {"num_key_value_heads", llama.key_value_heads > 0 ? llama.key_value_heads : llama.heads},
      {"head_dim", llama.head_width > 0 ? llama.head_width : llama.width / llama.heads},
      {"max_position_embeddings", llama.max_length},
      {"hidden_act", NameOf(llama.activation)},
      {"rms_norm_eps", llama.rms_norm_epsilon},
      {"initializer_range", llama.init_stddev},
      {"tie_word_embeddings", llama.tied_head},
      {"rope_theta", llama.rotary.base},
      {"attention_dropout", 0.0},
  };
  if (has_attention_bias_key) config["attention_bias"] = llama.query_key_value_bias;
  if (family == "llama") config["mlp_bias"] = llama.mlp_bias;
  if (family != "llama") config["use_sliding_window"] = false;
  if (llama.rotary.scaling != RotaryScaling::kNone) config["rope_scaling"] = ScalingConfig(llama);
  return config;
}

absl::StatusOr<Json> ConfigOf(const v1::ModelSpec& model) {
  if (model.has_gpt2()) return Gpt2Config(DimensionsOf(model.gpt2()));
  if (model.has_llama()) {
    ASSIGN_OR_RETURN(const LlamaDimensions llama, DimensionsOf(model.llama()));
    return LlamaConfig(llama);
  }
  return absl::InvalidArgumentError("only gpt2 and llama models have a Hugging Face form");
}

}  // namespace

absl::StatusOr<HuggingFaceConfigText> FormatHuggingFaceConfig(const v1::ModelSpec& model,
                                                              absl::string_view dtype) {
  ASSIGN_OR_RETURN(std::string dtype_name, DtypeName(dtype));
  ASSIGN_OR_RETURN(Json config, ConfigOf(model));
  config["torch_dtype"] = std::move(dtype_name);
  if (config["vocab_size"] == kByteVocabulary) {
    config["bos_token_id"] = kEndOfRecord;
    config["eos_token_id"] = kEndOfRecord;
  }
  return HuggingFaceConfigText{config["model_type"].get<std::string>(), config.dump(2) + "\n"};
}

}  // namespace sotto::spec
