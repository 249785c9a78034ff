#include "common/spec/model_dimensions.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::spec {
namespace {

using layout::Activation;
using layout::RotaryScaling;

constexpr double kLlamaEpsilon = 1e-5;

Activation ActivationOf(v1::Activation activation, Activation unset) {
  switch (activation) {
    case v1::GELU_TANH:
      return Activation::kGeluTanh;
    case v1::GELU:
      return Activation::kGelu;
    case v1::RELU:
      return Activation::kRelu;
    case v1::SILU:
      return Activation::kSilu;
    default:
      return unset;
  }
}

v1::Activation MessageOf(Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return v1::GELU_TANH;
    case Activation::kGelu:
      return v1::GELU;
    case Activation::kRelu:
      return v1::RELU;
    case Activation::kSilu:
      return v1::SILU;
  }
  return v1::ACTIVATION_UNSPECIFIED;
}

layout::Loss LossOf(v1::Loss loss) {
  return loss == v1::MEAN_SQUARED_ERROR ? layout::Loss::kMeanSquaredError
                                        : layout::Loss::kClassification;
}

// ViT's or DiT's.
template <typename Spec>
layout::PatchGrid GridOf(const Spec& spec) {
  return {.channels = spec.channels(),
          .image_size = spec.image_size(),
          .patch_size = spec.patch_size()};
}

absl::StatusOr<RotaryScaling> ScalingOf(const v1::RotaryScalingSpec& spec) {
  switch (spec.kind()) {
    case v1::RotaryScalingSpec::LINEAR:
      return RotaryScaling::kLinear;
    case v1::RotaryScalingSpec::DYNAMIC:
      return RotaryScaling::kDynamic;
    case v1::RotaryScalingSpec::YARN:
      return RotaryScaling::kYarn;
    case v1::RotaryScalingSpec::LLAMA3:
      return RotaryScaling::kLlama3;
    default:
      return absl::InvalidArgumentError("llama.rotary_scaling.kind is required");
  }
}

v1::RotaryScalingSpec::Kind MessageOf(RotaryScaling scaling) {
  switch (scaling) {
    case RotaryScaling::kNone:
      return v1::RotaryScalingSpec::KIND_UNSPECIFIED;
    case RotaryScaling::kLinear:
      return v1::RotaryScalingSpec::LINEAR;
    case RotaryScaling::kDynamic:
      return v1::RotaryScalingSpec::DYNAMIC;
    case RotaryScaling::kYarn:
      return v1::RotaryScalingSpec::YARN;
    case RotaryScaling::kLlama3:
      return v1::RotaryScalingSpec::LLAMA3;
  }
  return v1::RotaryScalingSpec::KIND_UNSPECIFIED;
}

absl::Status ReadScaling(const v1::RotaryScalingSpec& spec, layout::RotaryPositions& rotary) {
  ASSIGN_OR_RETURN(rotary.scaling, ScalingOf(spec));
  if (!(spec.factor() >= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("llama.rotary_scaling.factor must be at least 1, but is ", spec.factor()));
  }
  rotary.factor = spec.factor();
  rotary.original_max_length = spec.original_max_length();
  const auto take = [](double value, double& target) {
    if (value != 0) target = value;
  };
  take(spec.low_frequency_factor(), rotary.low_frequency_factor);
  take(spec.high_frequency_factor(), rotary.high_frequency_factor);
  take(spec.beta_fast(), rotary.beta_fast);
  take(spec.beta_slow(), rotary.beta_slow);
  rotary.attention_factor = spec.attention_factor();
  rotary.attention_scale = spec.attention_scale();
  rotary.attention_scale_all_dims = spec.attention_scale_all_dims();
  rotary.truncate = !spec.untruncated();
  return absl::OkStatus();
}

v1::RotaryScalingSpec ScalingMessage(const layout::RotaryPositions& rotary) {
  v1::RotaryScalingSpec spec;
  spec.set_kind(MessageOf(rotary.scaling));
  spec.set_factor(rotary.factor);
  spec.set_original_max_length(static_cast<int32_t>(rotary.original_max_length));
  spec.set_low_frequency_factor(rotary.low_frequency_factor);
  spec.set_high_frequency_factor(rotary.high_frequency_factor);
  spec.set_beta_fast(rotary.beta_fast);
  spec.set_beta_slow(rotary.beta_slow);
  spec.set_attention_factor(rotary.attention_factor);
  spec.set_attention_scale(rotary.attention_scale);
  spec.set_attention_scale_all_dims(rotary.attention_scale_all_dims);
  spec.set_untruncated(!rotary.truncate);
  return spec;
}

}  // namespace

layout::Gpt2Dimensions DimensionsOf(const v1::Gpt2Spec& spec) {
  layout::Gpt2Dimensions dimensions{
      .vocabulary_size = spec.vocabulary_size(),
      .width = spec.width(),
      .layers = spec.layers(),
      .heads = spec.heads(),
      .max_length = spec.max_length(),
      .tied_head = !spec.untied_head(),
      .mlp_width = spec.hidden_width(),
      .activation = ActivationOf(spec.activation(), Activation::kGeluTanh),
      .scale_attention = !spec.unscaled_attention(),
      .scale_attention_by_layer = spec.scale_attention_by_layer()};
  if (spec.layer_norm_epsilon() != 0) dimensions.layer_norm_epsilon = spec.layer_norm_epsilon();
  if (spec.init_stddev() != 0) dimensions.init_stddev = spec.init_stddev();
  return dimensions;
}

layout::EncoderDimensions DimensionsOf(const v1::EncoderSpec& spec) {
  layout::EncoderDimensions dimensions{.vocabulary_size = spec.vocabulary_size(),
                                       .width = spec.width(),
                                       .layers = spec.layers(),
                                       .heads = spec.heads(),
                                       .mlp_width = spec.hidden_width(),
                                       .max_length = spec.max_length(),
                                       .classes = spec.classes()};
  if (spec.layer_norm_epsilon() != 0) dimensions.layer_norm_epsilon = spec.layer_norm_epsilon();
  if (spec.init_stddev() != 0) dimensions.init_stddev = spec.init_stddev();
  return dimensions;
}

layout::MlpDimensions DimensionsOf(const v1::MlpSpec& spec) {
  return {.inputs = spec.inputs(),
          .hidden_widths = {spec.hidden_widths().begin(), spec.hidden_widths().end()},
          .outputs = spec.outputs(),
          .activation = ActivationOf(spec.activation(), Activation::kRelu),
          .loss = LossOf(spec.loss())};
}

layout::CnnDimensions DimensionsOf(const v1::CnnSpec& spec) {
  layout::CnnDimensions dimensions{
      .channels = spec.channels(),
      .height = spec.height(),
      .width = spec.width(),
      .stage_channels = {spec.stage_channels().begin(), spec.stage_channels().end()},
      .outputs = spec.outputs(),
      .loss = LossOf(spec.loss())};
  if (spec.groups() != 0) dimensions.groups = spec.groups();
  return dimensions;
}

layout::VitDimensions DimensionsOf(const v1::VitSpec& spec) {
  layout::VitDimensions dimensions{.grid = GridOf(spec),
                                   .width = spec.width(),
                                   .layers = spec.layers(),
                                   .heads = spec.heads(),
                                   .mlp_width = spec.hidden_width(),
                                   .outputs = spec.outputs(),
                                   .loss = LossOf(spec.loss())};
  if (spec.layer_norm_epsilon() != 0) dimensions.layer_norm_epsilon = spec.layer_norm_epsilon();
  if (spec.init_stddev() != 0) dimensions.init_stddev = spec.init_stddev();
  return dimensions;
}

layout::DitDimensions DimensionsOf(const v1::DitSpec& spec) {
  layout::DitDimensions dimensions{.grid = GridOf(spec),
                                   .width = spec.width(),
                                   .layers = spec.layers(),
                                   .heads = spec.heads(),
                                   .mlp_width = spec.hidden_width(),
                                   .classes = spec.classes()};
  if (spec.time_steps() != 0) dimensions.time_steps = spec.time_steps();
  if (spec.init_stddev() != 0) dimensions.init_stddev = spec.init_stddev();
  return dimensions;
}

absl::StatusOr<layout::LlamaDimensions> DimensionsOf(const v1::LlamaSpec& spec) {
  layout::LlamaDimensions dimensions{
      .vocabulary_size = spec.vocabulary_size(),
      .width = spec.width(),
      .layers = spec.layers(),
      .heads = spec.heads(),
      .key_value_heads = spec.key_value_heads(),
      .head_width = spec.head_width(),
      .mlp_width = spec.hidden_width(),
      .max_length = spec.max_length(),
      .tied_head = !spec.untied_head(),
      .query_key_value_bias = spec.query_key_value_bias(),
      .attention_output_bias = spec.attention_output_bias(),
      .mlp_bias = spec.hidden_bias(),
      .query_key_norm = spec.query_key_norm(),
      .activation = ActivationOf(spec.activation(), Activation::kSilu),
      .rms_norm_epsilon = spec.rms_norm_epsilon() != 0 ? spec.rms_norm_epsilon() : kLlamaEpsilon};
  if (spec.init_stddev() != 0) dimensions.init_stddev = spec.init_stddev();
  if (spec.rotary_base() != 0) dimensions.rotary.base = spec.rotary_base();
  if (spec.has_rotary_scaling()) {
    RETURN_IF_ERROR(ReadScaling(spec.rotary_scaling(), dimensions.rotary));
  }
  return dimensions;
}

v1::Gpt2Spec MessageOf(const layout::Gpt2Dimensions& dimensions) {
  v1::Gpt2Spec spec;
  spec.set_vocabulary_size(static_cast<int32_t>(dimensions.vocabulary_size));
  spec.set_width(static_cast<int32_t>(dimensions.width));
  spec.set_layers(static_cast<int32_t>(dimensions.layers));
  spec.set_heads(static_cast<int32_t>(dimensions.heads));
  spec.set_max_length(static_cast<int32_t>(dimensions.max_length));
  spec.set_untied_head(!dimensions.tied_head);
  spec.set_layer_norm_epsilon(dimensions.layer_norm_epsilon);
  spec.set_init_stddev(dimensions.init_stddev);
  spec.set_hidden_width(static_cast<int32_t>(dimensions.mlp_width));
  spec.set_activation(MessageOf(dimensions.activation));
  spec.set_unscaled_attention(!dimensions.scale_attention);
  spec.set_scale_attention_by_layer(dimensions.scale_attention_by_layer);
  return spec;
}

v1::LlamaSpec MessageOf(const layout::LlamaDimensions& dimensions) {
  v1::LlamaSpec spec;
  spec.set_vocabulary_size(static_cast<int32_t>(dimensions.vocabulary_size));
  spec.set_width(static_cast<int32_t>(dimensions.width));
  spec.set_layers(static_cast<int32_t>(dimensions.layers));
  spec.set_heads(static_cast<int32_t>(dimensions.heads));
  spec.set_key_value_heads(static_cast<int32_t>(dimensions.key_value_heads));
  spec.set_head_width(static_cast<int32_t>(dimensions.head_width));
  spec.set_hidden_width(static_cast<int32_t>(dimensions.mlp_width));
  spec.set_max_length(static_cast<int32_t>(dimensions.max_length));
  spec.set_untied_head(!dimensions.tied_head);
  spec.set_rms_norm_epsilon(dimensions.rms_norm_epsilon);
  spec.set_rotary_base(dimensions.rotary.base);
  spec.set_init_stddev(dimensions.init_stddev);
  spec.set_query_key_value_bias(dimensions.query_key_value_bias);
  spec.set_attention_output_bias(dimensions.attention_output_bias);
  spec.set_hidden_bias(dimensions.mlp_bias);
  spec.set_query_key_norm(dimensions.query_key_norm);
  spec.set_activation(MessageOf(dimensions.activation));
  if (dimensions.rotary.scaling != RotaryScaling::kNone) {
    *spec.mutable_rotary_scaling() = ScalingMessage(dimensions.rotary);
  }
  return spec;
}

}  // namespace sotto::spec
