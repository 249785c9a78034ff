#include "worker/models/testing/modulation_stage.h"

#include "worker/models/parameter_finder.h"
#include "worker/models/testing/all_layers_description.h"
#include "worker/models/unit_layers.h"
#include "worker/nn/activation.h"

namespace sotto::models {
namespace {

constexpr int64_t kChannels = AllLayersOptions::kChannels;

nn::GroupNorm::Options GroupNormOptions(const layout::UnitDescription& unit) {
  const int gain = ParameterFinder(unit).Optional("group_norm.weight");
  return {.gain = gain,
          .bias = gain + 1,
          .groups = 2,
          .epsilon = AllLayersOptions::kEpsilon,
          .gain_frozen = IsFrozen(unit, gain),
          .bias_frozen = IsFrozen(unit, gain + 1),
          .index = LayerIndex(unit, gain)};
}

// 2 x 2 positions to one.
nn::Conv2d::Options PoolOptions(const layout::UnitDescription& unit) {
  const int weight = ParameterFinder(unit).Optional("pool.weight");
  return {.weight = weight,
          .bias = weight + 1,
          .kernel = {3, 3},
          .stride = {2, 2},
          .padding = {1, 1},
          .groups = 2,
          .weight_frozen = IsFrozen(unit, weight),
          .bias_frozen = IsFrozen(unit, weight + 1),
          .index = LayerIndex(unit, weight)};
}

// The norms' names end alike: by whole name.
nn::LayerNorm::Options NormOptions(const layout::UnitDescription& unit) {
  int gain = 0;
  while (unit.parameters[gain].name != "norm.weight") ++gain;
  return LayerNormOptions(unit, gain, gain + 1, AllLayersOptions::kEpsilon);
}

nn::LoraLinear::Options Map(const layout::UnitDescription& unit, absl::string_view name) {
  const ParameterFinder find(unit);
  return LinearOptions(unit, find.Optional(absl::StrCat(name, ".weight")),
                       find.Optional(absl::StrCat(name, ".bias")),
                       nn::Linear::WeightLayout::kInputOutput, AllLayersOptions::kLoraAlpha);
}

}  // namespace

ModulationStage::ModulationStage(int unit, const layout::UnitDescription& description)
    : unit_(unit),
      topic_(
          EmbeddingOptionsOf(description, ParameterFinder(description).Optional("topic.weight"))),
      group_norm_(GroupNormOptions(description)),
      pool_(PoolOptions(description)),
      modulate_(Map(description, "modulate")),
      norm_(NormOptions(description)),
      fc_(Map(description, "fc")),
      proj_(Map(description, "proj")) {}

at::Tensor ModulationStage::Modulation(absl::Span<const at::Tensor> parameters,
                                       const MicroBatch& batch) {
  const int64_t examples = batch.tokens_BT.size(0);
  const at::Tensor topics =
      topic_.Forward(parameters, batch.tokens_BT.narrow(1, 0, 1).contiguous(), &kept_.topic);
  kept_.group_norm_output =
      group_norm_.Forward(parameters, topics.view({examples, kChannels, 2, 2}), &kept_.group_norm);
  const at::Tensor pooled = pool_.Forward(
      parameters, nn::Activate(nn::ActivationKind::kSilu, kept_.group_norm_output), &kept_.pool);
  return modulate_.Forward(parameters, pooled.reshape({examples, 1, 2 * kChannels}),
                           &kept_.modulate);
}

at::Tensor ModulationStage::Forward(absl::Span<const at::Tensor> parameters,
                                    const MicroBatch& batch, const at::Tensor& input) {
  kept_.modulation = Modulation(parameters, batch);
  kept_.normalised = norm_.Forward(parameters, input, &kept_.norm);
  kept_.fc_output =
      fc_.Forward(parameters, nn::Modulate(kept_.normalised, kept_.modulation), &kept_.fc);
  return proj_
      .Forward(parameters, nn::Activate(nn::ActivationKind::kGeluTanh, kept_.fc_output),
               &kept_.proj)
      .add_(input);
}

void ModulationStage::ModulationBackward(absl::Span<const at::Tensor> parameters,
                                         const at::Tensor& grads, nn::GradientSink& sink) const {
  const int64_t examples = grads.size(0);
  at::Tensor image_grads =
      nn::BackwardThrough(pool_, parameters, kept_.pool,
                          modulate_.Backward(parameters, kept_.modulate, grads, sink)
                              .view({examples, 2 * kChannels, 1, 1}),
                          sink);
  nn::ActivateBackwardInPlace(nn::ActivationKind::kSilu, kept_.group_norm_output, image_grads);
  const at::Tensor topic_grads =
      nn::BackwardThrough(group_norm_, parameters, kept_.group_norm, image_grads, sink);
  nn::BackwardThrough(topic_, parameters, kept_.topic,
                      topic_grads.reshape({examples, 1, AllLayersOptions::kWidth}), sink);
}

at::Tensor ModulationStage::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                     const at::Tensor& output_grads, nn::GradientSink& sink) {
  at::Tensor fc_grads = proj_.Backward(parameters, kept_.proj, output_grads, sink);
  nn::ActivateBackwardInPlace(nn::ActivationKind::kGeluTanh, kept_.fc_output, fc_grads);
  const nn::ModulateGrads grads = nn::ModulateBackward(
      kept_.normalised, kept_.modulation, fc_.Backward(parameters, kept_.fc, fc_grads, sink));
  ModulationBackward(parameters, grads.modulation, sink);
  return nn::BackwardThrough(norm_, parameters, kept_.norm, grads.input, sink).add(output_grads);
}

}  // namespace sotto::models
