#include "tests/equivalence/mode_run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "absl/strings/ascii.h"
#include "common/base/log.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/schedule_options.h"
#include "worker/dp/flat_clipping.h"

namespace sotto::equivalence {
namespace {

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  SOTTO_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

std::shared_ptr<const dp::ClippingRule> RuleOf(const ModeOptions& options) {
  if (options.clipping != nullptr) return options.clipping;
  return ValueOrDie(dp::FlatClipping::Create(options.applied_clip_norm, /*margin=*/0));
}

}  // namespace

std::vector<at::Tensor> ParameterViews(const layout::ModelDescription& description,
                                       const layout::FlatLayout& layout, int unit,
                                       const at::Tensor& flat) {
  std::vector<at::Tensor> views;
  for (size_t i = 0; i < layout.unit(unit).parameters.size(); ++i) {
    const layout::ParameterLayout& parameter = layout.unit(unit).parameters[i];
    if (parameter.interval().end > flat.numel()) {
      views.emplace_back();
      continue;
    }
    views.push_back(flat.narrow(0, parameter.offset, parameter.elements)
                        .view(description.units[unit].parameters[i].shape));
  }
  return views;
}

TestModel MakeTestModel(layout::ModelDescription description, double stddev, int64_t seed) {
  layout::FlatLayout layout = ValueOrDie(layout::FlatLayout::Create(description, 1));
  TestModel model{.description = std::move(description), .layout = std::move(layout)};
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (int unit = 0; unit < model.layout.num_units(); ++unit) {
    model.flat.push_back(at::zeros({model.layout.unit(unit).whole_elements()}));
    model.parameters.push_back(
        ParameterViews(model.description, model.layout, unit, model.flat.back()));
    for (size_t i = 0; i < model.parameters[unit].size(); ++i) {
      at::Tensor& view = model.parameters[unit][i];
      view.normal_(0, view.dim() == 1 ? 0.1 : stddev, generator);
      if (model.description.units[unit].parameters[i].init == layout::Init::kOnes) view.add_(1);
    }
  }
  return model;
}

TestModel MakeTestModel(const layout::Gpt2Dimensions& dimensions, int64_t seed) {
  // Wide enough that every gradient counts, small enough that attention does not saturate.
  const double stddev = 0.85 / std::sqrt(static_cast<double>(dimensions.width));
  return MakeTestModel(ValueOrDie(layout::MakeGpt2Description(dimensions)), stddev, seed);
}

models::MicroBatch MakeMicroBatch(int64_t examples, int64_t tokens, int64_t vocabulary,
                                  int64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  models::MicroBatch batch{
      .tokens_BT = at::randint(vocabulary, {examples, tokens}, generator, at::kLong),
      .loss_mask_BT = at::ones({examples, tokens})};
  batch.loss_mask_BT.select(1, 0).zero_();
  for (int64_t b = 0; b < examples; ++b) {
    const int64_t length =
        at::randint(std::min<int64_t>(2, tokens), tokens + 1, {1}, generator, at::kLong)
            .item<int64_t>();
    batch.loss_mask_BT[b].narrow(0, length, tokens - length).zero_();
    batch.tokens_BT[b].narrow(0, length, tokens - length).zero_();
    batch.example_ids.push_back(b);
  }
  return batch;
}

models::MicroBatch SelectFrom(const models::MicroBatch& batch,
                              const std::vector<int64_t>& indices) {
  const at::Tensor index = at::tensor(indices, at::kLong);
  models::MicroBatch result{.tokens_BT = batch.tokens_BT.index_select(0, index),
                            .loss_mask_BT = batch.loss_mask_BT.index_select(0, index)};
  for (int64_t i : indices) result.example_ids.push_back(batch.example_ids[i]);
  return result;
}

std::vector<ClippingMode> ClippingModes() {
  std::vector<ClippingMode> modes;
  for (const layout::NamedMode& named : layout::kGradientModes) {
    if (named.mode.norm == layout::Norm::kNone) continue;
    std::string name;  // flash_fuse_bk -> FlashFuseBk
    bool upper = true;
    for (char c : named.name) {
      if (c != '_') name += upper ? absl::ascii_toupper(c) : c;
      upper = c == '_';
    }
    modes.push_back({.name = name, .mode = std::string(named.name)});
    // Fused norms that wait are the unfused ones that wait.
    const bool is_fused =
        named.mode.when == layout::When::kInLayer && named.mode.kept != layout::Kept::kExampleGrads;
    if (is_fused) continue;
    modes.push_back(
        {.name = name + "Deferred", .mode = std::string(named.name), .deferred_norms = true});
  }
  return modes;
}

layout::LayerModes MixedModes(const layout::ModelDescription& description,
                              const std::vector<layout::UnitMode>& kinds, size_t shift) {
  layout::LayerModes layer_modes;
  for (const layout::UnitDescription& unit : description.units) {
    layer_modes.emplace_back();
    for (size_t i = 0; i < unit.layers.size(); ++i) {
      layer_modes.back().push_back(kinds[shift++ % kinds.size()]);
    }
  }
  return layer_modes;
}

ModeRun::ModeRun(const TestModel& model, const ModeOptions& options, int64_t max_examples)
    : model_(model) {
  layout::UnitMode mode = *layout::FindMode(options.mode);
  if (options.deferred_norms) mode = layout::WithDeferredNorms(mode);
  stages_ = options.make_model == nullptr
                ? ValueOrDie(models::Model::Create(model.description, options.model))
                : options.make_model(model.description, options.model);
  pass_ = ValueOrDie(dp::GradientPass::Create(model.layout, {.mode = mode,
                                                             .layer_modes = options.layer_modes,
                                                             .clipping = RuleOf(options),
                                                             .loss_bound = 100,
                                                             .max_examples = max_examples}));
  parameters_ = ValueOrDie(fsdp::ShardedParameters::Create(
      model.description, model.layout, communicator_, {.strategy = options.strategy}));
  executor_ = std::make_unique<train::Executor>(
      layout::MakeScheduleOptions(
          model.description,
          {.mode = mode, .layer_modes = options.layer_modes, .strategy = options.strategy}),
      *stages_, *parameters_, *pass_, /*profile=*/nullptr, options.compute_type);
  for (int unit = 0; unit < model.layout.num_units(); ++unit) {
    flat_gradients_.push_back(parameters_->GradientShard(unit));
    gradients_.push_back(
        ParameterViews(model.description, model.layout, unit, flat_gradients_.back()));
  }
}

void ModeRun::ZeroGradients() { parameters_->ClearGradientShards(); }

void ModeRun::LoadParameters() {
  for (int unit = 0; unit < model_.layout.num_units(); ++unit) {
    const layout::UnitLayout& unit_layout = model_.layout.unit(unit);
    const at::Tensor& flat = model_.flat[unit];
    at::Tensor(parameters_->MasterShard(unit))
        .copy_(flat.narrow(0, 0, unit_layout.padded_elements));
    at::Tensor(parameters_->FrozenShard(unit))
        .copy_(flat.narrow(0, unit_layout.padded_elements, unit_layout.frozen.padded_elements));
  }
}

void ModeRun::Run(const std::vector<models::MicroBatch>& batches) {
  LoadParameters();
  SOTTO_CHECK(executor_
                  ->SumGradients(static_cast<int>(batches.size()),
                                 [&](int micro_batch) { return batches[micro_batch]; })
                  .ok());
}

at::Tensor ModeRun::Losses(const models::MicroBatch& batch) {
  LoadParameters();
  at::Tensor losses;
  SOTTO_CHECK(executor_
                  ->ComputeLosses(
                      1, [&](int) { return batch; },
                      [&](const models::MicroBatch&, const at::Tensor& losses_B) {
                        losses = losses_B.clone();
                      })
                  .ok());
  return losses;
}

}  // namespace sotto::equivalence
