#include "worker/models/testing/attention_stage.h"

#include <array>

#include "worker/models/parameter_finder.h"
#include "worker/models/testing/all_layers_description.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {
namespace {

constexpr std::array<float, 2> kFrequencies = {1.0f, 0.1f};

nn::RotaryTable Table(int64_t tokens) {
  return nn::RotaryTable(kFrequencies, /*magnitude=*/1, tokens);
}

nn::LoraLinear::Options Map(const layout::UnitDescription& unit, absl::string_view name) {
  const ParameterFinder find(unit);
  return LinearOptions(unit, find.Optional(absl::StrCat(name, ".weight")),
                       find.Optional(absl::StrCat(name, ".bias")),
                       nn::Linear::WeightLayout::kOutputInput, AllLayersOptions::kLoraAlpha);
}

}  // namespace

AttentionStage::AttentionStage(int unit, const layout::UnitDescription& description)
    : unit_(unit),
      norm_(RmsNormOptions(description, ParameterFinder(description).Optional("norm.weight"),
                           AllLayersOptions::kEpsilon)),
      q_(Map(description, "q")),
      k_(Map(description, "k")),
      v_(Map(description, "v")),
      scores_({.heads = AllLayersOptions::kHeads,
               .key_value_heads = AllLayersOptions::kKeyValueHeads,
               .head_width = AllLayersOptions::kHeadWidth}),
      o_(Map(description, "o")) {}

at::Tensor AttentionStage::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                   const at::Tensor& input) {
  const nn::RotaryTable table = Table(input.size(1));
  const at::Tensor normalised = norm_.Forward(parameters, input, &kept_.norm);
  const at::Tensor attended = scores_.Forward(
      q_.Forward(parameters, normalised, &kept_.q), k_.Forward(parameters, normalised, &kept_.k),
      v_.Forward(parameters, normalised, &kept_.v), {.rotary = &table}, &kept_.scores);
  return o_.Forward(parameters, attended, &kept_.o).add_(input);
}

at::Tensor AttentionStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                    const at::Tensor& output_grads, nn::GradientSink& sink) {
  const nn::RotaryTable table = Table(output_grads.size(1));
  const nn::GroupedAttention::Grads grads = scores_.Backward(
      kept_.scores, o_.Backward(parameters, kept_.o, output_grads, sink), {.rotary = &table});
  at::Tensor normalised_grads = q_.Backward(parameters, kept_.q, grads.queries, sink);
  normalised_grads.add_(k_.Backward(parameters, kept_.k, grads.keys, sink));
  normalised_grads.add_(v_.Backward(parameters, kept_.v, grads.values, sink));
  return nn::BackwardThrough(norm_, parameters, kept_.norm, normalised_grads, sink)
      .add(output_grads);
}

}  // namespace sotto::models
