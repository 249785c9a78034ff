#include "common/spec/hugging_face_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/llama_description.h"
#include "common/spec/config_reader.h"
#include "nlohmann/json.hpp"

namespace sotto::spec {
namespace {

using Json = nlohmann::json;
using layout::Activation;
using layout::RotaryScaling;

// Layers are described one by one: no file may make that take for ever.
constexpr int64_t kMostLayers = 10000;

Activation ReadActivation(ConfigReader& config, const std::string& key, const std::string& absent) {
  const std::string name = config.Text({key.c_str()}, absent);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast" ||
      name == "gelu_python_tanh" || name == "gelu_accurate") {
    return Activation::kGeluTanh;
  }
  if (name == "gelu" || name == "gelu_python") return Activation::kGelu;
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  config.Refuse(key, absl::StrCat("is \"", name,
                                  "\", which is not supported (gelu_new, gelu, relu, silu are)"));
  return Activation::kGelu;
}

// What no family here can do.
void RefuseForeignParts(ConfigReader& config) {
  if (config.Has("quantization_config")) {
    config.Refuse("quantization_config", "is set, but quantised weights are not supported");
  }
  if (config.Bool("add_cross_attention", false)) {
    config.Refuse("add_cross_attention", "is set, but cross-attention is not supported");
  }
}

absl::StatusOr<HuggingFaceDimensions> ReadGpt2(ConfigReader& config) {
  layout::Gpt2Dimensions dimensions;
  dimensions.vocabulary_size = config.Int({"vocab_size"}, 50257);
  dimensions.width = config.Int({"n_embd", "hidden_size"}, 768);
  dimensions.layers = config.IntUpTo(kMostLayers, {"n_layer", "num_hidden_layers"}, 12);
  dimensions.heads = config.Int({"n_head", "num_attention_heads"}, 12);
  dimensions.max_length = config.Int({"n_positions", "max_position_embeddings"}, 1024);
  dimensions.mlp_width = config.Int({"n_inner"}, 0);
  dimensions.activation = ReadActivation(config, "activation_function", "gelu_new");
  dimensions.scale_attention = config.Bool("scale_attn_weights", true);
  dimensions.scale_attention_by_layer = config.Bool("scale_attn_by_inverse_layer_idx", false);
  dimensions.tied_head = config.Bool("tie_word_embeddings", true);
  dimensions.layer_norm_epsilon = config.Number("layer_norm_epsilon", 1e-5);
  dimensions.init_stddev = config.Number("initializer_range", 0.02);
  RETURN_IF_ERROR(config.status());
  return dimensions;
}

RotaryScaling ReadScaling(ConfigReader& rotary) {
  const std::string name = rotary.Text({"rope_type", "type"}, "default");
  if (name == "default") return RotaryScaling::kNone;
  if (name == "linear") return RotaryScaling::kLinear;
  if (name == "dynamic") return RotaryScaling::kDynamic;
  if (name == "yarn") return RotaryScaling::kYarn;
  if (name == "llama3") return RotaryScaling::kLlama3;
  rotary.Refuse("rope_type",
                absl::StrCat("is \"", name,
                             "\", which is not supported (default, linear, dynamic, yarn, llama3 "
                             "are)"));
  return RotaryScaling::kNone;
}

// `rope_scaling` of older files goes before `rope_parameters`; the base may stand in either or
// outside. Members that a scaling needs but the file lacks are refused, as transformers does.
absl::StatusOr<layout::RotaryPositions> ReadRotary(ConfigReader& config, int64_t max_length) {
  const Json none = Json::object();
  const Json* members = config.Object("rope_scaling");
  if (members == nullptr || members->empty()) members = config.Object("rope_parameters");
  RETURN_IF_ERROR(config.status());
  ConfigReader rotary(members == nullptr ? none : *members,
                      "config.json: rope_scaling or rope_parameters");
  layout::RotaryPositions positions;
  positions.base = rotary.Number("rope_theta", config.Number("rope_theta", 10000));
  positions.scaling = ReadScaling(rotary);
  positions.factor = rotary.Number("factor", 0);
  positions.original_max_length =
      config.Int({"original_max_position_embeddings"},
                 rotary.Int({"original_max_position_embeddings"}, max_length));
  positions.low_frequency_factor = rotary.Number("low_freq_factor", positions.low_frequency_factor);
  positions.high_frequency_factor =
      rotary.Number("high_freq_factor", positions.high_frequency_factor);
  positions.attention_factor = rotary.Number("attention_factor", 0);
  positions.attention_scale = rotary.Number("mscale", 0);
  positions.attention_scale_all_dims = rotary.Number("mscale_all_dim", 0);
  const double fast = rotary.Number("beta_fast", 0);
  const double slow = rotary.Number("beta_slow", 0);
  if (fast != 0) positions.beta_fast = fast;
  if (slow != 0) positions.beta_slow = slow;
  positions.truncate = rotary.Bool("truncate", true);
  const double partial =
      rotary.Number("partial_rotary_factor", config.Number("partial_rotary_factor", 1));
  if (partial != 1) rotary.Refuse("partial_rotary_factor", "must be 1");
  if (positions.factor == 0) {
    positions.factor =
        positions.scaling == RotaryScaling::kYarn && positions.original_max_length > 0
            ? static_cast<double>(max_length) / static_cast<double>(positions.original_max_length)
            : 1;
    if (positions.scaling != RotaryScaling::kNone && positions.scaling != RotaryScaling::kYarn) {
      rotary.Refuse("factor", "is missing");
    }
  }
  if (positions.scaling == RotaryScaling::kLlama3) {
    for (const char* name : {"low_freq_factor", "high_freq_factor"}) {
      if (!rotary.Has(name)) rotary.Refuse(name, "is missing");
    }
  }
  RETURN_IF_ERROR(rotary.status());
  RETURN_IF_ERROR(config.status());
  return positions;
}

absl::StatusOr<HuggingFaceDimensions> ReadLlama(ConfigReader& config) {
  layout::LlamaDimensions dimensions;
  dimensions.vocabulary_size = config.Int({"vocab_size"}, 32000);
  dimensions.width = config.Int({"hidden_size"}, 4096);
  dimensions.mlp_width = config.Int({"intermediate_size"}, 11008);
  dimensions.layers = config.IntUpTo(kMostLayers, {"num_hidden_layers"}, 32);
  dimensions.heads = config.Int({"num_attention_heads"}, 32);
  dimensions.key_value_heads = config.Int({"num_key_value_heads"}, dimensions.heads);
  dimensions.head_width = config.Int({"head_dim"}, 0);
  dimensions.max_length = config.Int({"max_position_embeddings"}, 2048);
  dimensions.tied_head = config.Bool("tie_word_embeddings", false);
  const bool attention_bias = config.Bool("attention_bias", false);
  dimensions.query_key_value_bias = attention_bias;
  dimensions.attention_output_bias = attention_bias;
  dimensions.mlp_bias = config.Bool("mlp_bias", false);
  dimensions.activation = ReadActivation(config, "hidden_act", "silu");
  dimensions.rms_norm_epsilon = config.Number("rms_norm_eps", 1e-6);
  dimensions.init_stddev = config.Number("initializer_range", 0.02);
  ASSIGN_OR_RETURN(dimensions.rotary, ReadRotary(config, dimensions.max_length));
  return dimensions;
}

// Attention to a window of the past is not known here.
void RefuseWindows(ConfigReader& config, const Json& json) {
  if (config.Bool("use_sliding_window", false)) {
    config.Refuse("use_sliding_window", "is set, but sliding windows are not supported");
  }
  const auto types = json.find("layer_types");
  if (types == json.end() || !types->is_array()) return;
  for (const Json& type : *types) {
    if (type == "full_attention") continue;
    config.Refuse("layer_types",
                  absl::StrCat("holds ", type.dump(), ", but only full_attention is supported"));
  }
}

// What Qwen2 and Qwen3 share. Their MLPs have no biases.
absl::StatusOr<layout::LlamaDimensions> ReadQwen(ConfigReader& config, const Json& json) {
  layout::LlamaDimensions dimensions;
  dimensions.vocabulary_size = config.Int({"vocab_size"}, 151936);
  dimensions.width = config.Int({"hidden_size"}, 4096);
  dimensions.mlp_width = config.Int({"intermediate_size"}, 22016);
  dimensions.layers = config.IntUpTo(kMostLayers, {"num_hidden_layers"}, 32);
  dimensions.heads = config.Int({"num_attention_heads"}, 32);
  dimensions.key_value_heads = config.Int(
      {"num_key_value_heads"}, config.IsNull("num_key_value_heads") ? dimensions.heads : 32);
  dimensions.max_length = config.Int({"max_position_embeddings"}, 32768);
  dimensions.tied_head = config.Bool("tie_word_embeddings", false);
  dimensions.activation = ReadActivation(config, "hidden_act", "silu");
  dimensions.rms_norm_epsilon = config.Number("rms_norm_eps", 1e-6);
  dimensions.init_stddev = config.Number("initializer_range", 0.02);
  RefuseWindows(config, json);
  ASSIGN_OR_RETURN(dimensions.rotary, ReadRotary(config, dimensions.max_length));
  return dimensions;
}

absl::StatusOr<HuggingFaceDimensions> ReadQwen2(ConfigReader& config, const Json& json) {
  ASSIGN_OR_RETURN(layout::LlamaDimensions dimensions, ReadQwen(config, json));
  dimensions.head_width = config.Int({"head_dim"}, 0);
  dimensions.query_key_value_bias = true;
  RETURN_IF_ERROR(config.status());
  return dimensions;
}

absl::StatusOr<HuggingFaceDimensions> ReadQwen3(ConfigReader& config, const Json& json) {
  ASSIGN_OR_RETURN(layout::LlamaDimensions dimensions, ReadQwen(config, json));
  dimensions.head_width = config.Int({"head_dim"}, 128);
  const bool attention_bias = config.Bool("attention_bias", false);
  dimensions.query_key_value_bias = attention_bias;
  dimensions.attention_output_bias = attention_bias;
  dimensions.query_key_norm = true;
  RETURN_IF_ERROR(config.status());
  return dimensions;
}

std::string ModelType(ConfigReader& config, const Json& json) {
  const std::string type = config.Text({"model_type"}, "");
  if (!type.empty()) return type;
  const auto architectures = json.find("architectures");
  if (architectures == json.end() || !architectures->is_array()) return "";
  for (const Json& name : *architectures) {
    if (name == "GPT2LMHeadModel") return "gpt2";
    if (name == "LlamaForCausalLM") return "llama";
    if (name == "Qwen2ForCausalLM") return "qwen2";
    if (name == "Qwen3ForCausalLM") return "qwen3";
  }
  return "";
}

}  // namespace

absl::StatusOr<HuggingFaceDimensions> ParseHuggingFaceConfig(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("config.json: must be a JSON object");
  ConfigReader config(json, "config.json");
  const std::string type = ModelType(config, json);
  RefuseForeignParts(config);
  RETURN_IF_ERROR(config.status());
  if (type == "gpt2") return ReadGpt2(config);
  if (type == "llama") return ReadLlama(config);
  if (type == "qwen2") return ReadQwen2(config, json);
  if (type == "qwen3") return ReadQwen3(config, json);
  return absl::InvalidArgumentError(absl::StrCat("config.json: model_type is \"", type,
                                                 "\", but must be gpt2, llama, qwen2 or qwen3"));
}

absl::StatusOr<layout::ModelDescription> DescribeHuggingFace(
    const HuggingFaceDimensions& dimensions) {
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&dimensions)) {
    return layout::MakeGpt2Description(*gpt2);
  }
  return layout::MakeLlamaDescription(std::get<layout::LlamaDimensions>(dimensions));
}

}  // namespace sotto::spec
