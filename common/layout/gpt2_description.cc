#include "common/layout/gpt2_description.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sotto::layout {
namespace {

absl::Status CheckDimensions(const Gpt2Dimensions& dimensions) {
  const auto require = [](absl::string_view name, int64_t value, int64_t minimum) {
    if (value >= minimum) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("gpt2.", name, " must be at least ", minimum, ", but is ", value));
  };
  for (const absl::Status& status :
       {require("vocabulary_size", dimensions.vocabulary_size, 2),
        require("width", dimensions.width, 1), require("layers", dimensions.layers, 1),
        require("heads", dimensions.heads, 1), require("max_length", dimensions.max_length, 1)}) {
    if (!status.ok()) return status;
  }
  if (dimensions.mlp_width < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpt2.mlp_width must not be negative, but is ", dimensions.mlp_width));
  }
  if (dimensions.width % dimensions.heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("gpt2.width must be divisible by heads, but ",
                                                   dimensions.width, " is not by ",
                                                   dimensions.heads));
  }
  if (!std::isfinite(dimensions.layer_norm_epsilon) || dimensions.layer_norm_epsilon <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpt2.layer_norm_epsilon must be finite and positive, but is ",
                     dimensions.layer_norm_epsilon));
  }
  if (!std::isfinite(dimensions.init_stddev) || dimensions.init_stddev < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "gpt2.init_stddev must be finite and not negative, but is ", dimensions.init_stddev));
  }
  return absl::OkStatus();
}

ParameterDescription Weight(std::string name, std::vector<int64_t> shape, double stddev) {
  return {.name = std::move(name),
          .shape = std::move(shape),
          .init = Init::kNormal,
          .init_stddev = stddev,
          .weight_decay = true};
}

ParameterDescription Bias(std::string name, int64_t size) {
  return {.name = std::move(name), .shape = {size}, .init = Init::kZeros};
}

ParameterDescription Gain(std::string name, int64_t size) {
  return {.name = std::move(name), .shape = {size}, .init = Init::kOnes};
}

LayerDescription Layer(std::string name, LayerKind kind, int64_t inputs, int64_t outputs,
                       std::vector<int> parameters) {
  return {.name = std::move(name),
          .kind = kind,
          .inputs = inputs,
          .outputs = outputs,
          .parameters = std::move(parameters)};
}

// In the order in which a forward pass meets them first.
std::vector<LayerDescription> RootLayers(const Gpt2Dimensions& dimensions) {
  const int64_t width = dimensions.width;
  const int64_t vocabulary = dimensions.vocabulary_size;
  std::vector<LayerDescription> layers = {
      Layer("wte", dimensions.tied_head ? LayerKind::kTiedEmbedding : LayerKind::kEmbedding,
            vocabulary, width, {0}),
      Layer("wpe", LayerKind::kPositions, dimensions.max_length, width, {1}),
      Layer("ln_f", LayerKind::kLayerNorm, width, width, {2, 3})};
  layers.back().in_last_stage = true;
  if (!dimensions.tied_head) {
    layers.push_back(Layer("lm_head", LayerKind::kLinear, width, vocabulary, {4}));
    layers.back().in_last_stage = true;
  }
  return layers;
}

int64_t MlpWidth(const Gpt2Dimensions& dimensions) {
  return dimensions.mlp_width > 0 ? dimensions.mlp_width : 4 * dimensions.width;
}

std::vector<LayerDescription> BlockLayers(const std::string& prefix, int64_t width,
                                          int64_t mlp_width) {
  return {Layer(prefix + "ln_1", LayerKind::kLayerNorm, width, width, {0, 1}),
          Layer(prefix + "attn.c_attn", LayerKind::kLinear, width, 3 * width, {2, 3}),
          Layer(prefix + "attn.c_proj", LayerKind::kLinear, width, width, {4, 5}),
          Layer(prefix + "ln_2", LayerKind::kLayerNorm, width, width, {6, 7}),
          Layer(prefix + "mlp.c_fc", LayerKind::kLinear, width, mlp_width, {8, 9}),
          Layer(prefix + "mlp.c_proj", LayerKind::kLinear, mlp_width, width, {10, 11})};
}

UnitDescription Root(const Gpt2Dimensions& dimensions) {
  const int64_t width = dimensions.width;
  const double stddev = dimensions.init_stddev;
  UnitDescription root{
      .name = "root",
      .parameters = {Weight("wte.weight", {dimensions.vocabulary_size, width}, stddev),
                     Weight("wpe.weight", {dimensions.max_length, width}, stddev),
                     Gain("ln_f.weight", width), Bias("ln_f.bias", width)}};
  if (!dimensions.tied_head) {
    root.parameters.push_back(
        Weight("lm_head.weight", {dimensions.vocabulary_size, width}, stddev));
  }
  root.layers = RootLayers(dimensions);
  return root;
}

UnitDescription Block(const Gpt2Dimensions& dimensions, int64_t index) {
  const int64_t width = dimensions.width;
  const int64_t mlp_width = MlpWidth(dimensions);
  const double stddev = dimensions.init_stddev;
  const double residual_stddev = stddev / std::sqrt(2.0 * static_cast<double>(dimensions.layers));
  const std::string prefix = absl::StrCat("h.", index, ".");
  return {.name = absl::StrCat("h.", index),
          .parameters = {Gain(prefix + "ln_1.weight", width), Bias(prefix + "ln_1.bias", width),
                         Weight(prefix + "attn.c_attn.weight", {width, 3 * width}, stddev),
                         Bias(prefix + "attn.c_attn.bias", 3 * width),
                         Weight(prefix + "attn.c_proj.weight", {width, width}, residual_stddev),
                         Bias(prefix + "attn.c_proj.bias", width),
                         Gain(prefix + "ln_2.weight", width), Bias(prefix + "ln_2.bias", width),
                         Weight(prefix + "mlp.c_fc.weight", {width, mlp_width}, stddev),
                         Bias(prefix + "mlp.c_fc.bias", mlp_width),
                         Weight(prefix + "mlp.c_proj.weight", {mlp_width, width}, residual_stddev),
                         Bias(prefix + "mlp.c_proj.bias", width)},
          .layers = BlockLayers(prefix, width, mlp_width)};
}

// Kept per token by a block, in multiples of the width: the input (1), the first norm's output (1),
// q, k and v (3), attention's output (1), the sum after attention (1), the second norm's output
// (1), the MLP's hidden layer before and after GELU (8). Besides: the norms' statistics (4) and
// attention's logsumexp (one per head).
//
// Alive at once inside one block's backward, in multiples of the width: gradients of the hidden
// layer before and after GELU (8), of q, k and v apart and joined (6), of the residual stream and
// its branches (4), and what ATen's kernels copy and the allocator has not given back (5, measured:
// tests/equivalence/memory_test).
StageFootprint BlockFootprint(const Gpt2Dimensions& dimensions) {
  const auto width = static_cast<double>(dimensions.width);
  const auto mlp_width = static_cast<double>(MlpWidth(dimensions));
  return {.kept_per_token = 8 * width + 2 * mlp_width + 4 + static_cast<double>(dimensions.heads),
          .workspace_per_token = 15 * width + 2 * mlp_width};
}

// Logits, which become their gradient, and a scaled copy of it. A tied head keeps T values per
// token for the norm's cross term.
StageFootprint HeadFootprint(const Gpt2Dimensions& dimensions) {
  const auto width = static_cast<double>(dimensions.width);
  const auto vocabulary = static_cast<double>(dimensions.vocabulary_size);
  return {.kept_per_token = 2 * width + 2,
          .workspace_per_token = vocabulary + 2 * width,
          .weight_grad_per_token = vocabulary,
          .second_pass_per_token = vocabulary,
          .norms_per_token_sq = dimensions.tied_head ? 1.0 : 0.0};
}

}  // namespace

absl::StatusOr<ModelDescription> MakeGpt2Description(const Gpt2Dimensions& dimensions) {
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  model.units.push_back(Root(dimensions));
  model.stages.push_back(0);
  model.footprints.push_back({});
  for (int64_t i = 0; i < dimensions.layers; ++i) {
    model.units.push_back(Block(dimensions, i));
    model.stages.push_back(static_cast<int>(i) + 1);
    model.footprints.push_back(BlockFootprint(dimensions));
  }
  model.stages.push_back(0);
  model.footprints.push_back(HeadFootprint(dimensions));
  return model;
}

}  // namespace sotto::layout
