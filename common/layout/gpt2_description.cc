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
  return root;
}

UnitDescription Block(const Gpt2Dimensions& dimensions, int64_t index) {
  const int64_t width = dimensions.width;
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
                         Weight(prefix + "mlp.c_fc.weight", {width, 4 * width}, stddev),
                         Bias(prefix + "mlp.c_fc.bias", 4 * width),
                         Weight(prefix + "mlp.c_proj.weight", {4 * width, width}, residual_stddev),
                         Bias(prefix + "mlp.c_proj.bias", width)}};
}

}  // namespace

absl::StatusOr<ModelDescription> MakeGpt2Description(const Gpt2Dimensions& dimensions) {
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions};
  model.units.push_back(Root(dimensions));
  model.stages.push_back(0);
  for (int64_t i = 0; i < dimensions.layers; ++i) {
    model.units.push_back(Block(dimensions, i));
    model.stages.push_back(static_cast<int>(i) + 1);
  }
  model.stages.push_back(0);
  return model;
}

}  // namespace sotto::layout
