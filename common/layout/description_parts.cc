#include "common/layout/description_parts.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sotto::layout {

absl::Status RequireAtLeast(absl::string_view family, absl::string_view name, int64_t value,
                            int64_t minimum) {
  if (value >= minimum) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(family, ".", name, " must be at least ", minimum, ", but is ", value));
}

absl::Status RequirePositive(absl::string_view family, absl::string_view name, double value,
                             bool zero_allowed) {
  if (std::isfinite(value) && (value > 0 || (zero_allowed && value == 0))) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(family, ".", name, " must be finite and ",
                                                 zero_allowed ? "not negative" : "positive",
                                                 ", but is ", value));
}

int UnitBuilder::Add(ParameterDescription parameter) {
  unit_.parameters.push_back(std::move(parameter));
  return static_cast<int>(unit_.parameters.size()) - 1;
}

UnitBuilder& UnitBuilder::AddLayer(const std::string& name, LayerKind kind, int64_t inputs,
                                   int64_t outputs, std::vector<int> parameters) {
  unit_.layers.push_back({.name = name,
                          .kind = kind,
                          .inputs = inputs,
                          .outputs = outputs,
                          .parameters = std::move(parameters)});
  return *this;
}

UnitBuilder& UnitBuilder::Linear(const std::string& name, std::vector<int64_t> weight_shape,
                                 int64_t inputs, int64_t outputs, bool bias, double stddev) {
  std::vector<int> parameters = {Add({.name = name + ".weight",
                                      .shape = std::move(weight_shape),
                                      .init = Init::kNormal,
                                      .init_stddev = stddev,
                                      .weight_decay = true})};
  if (bias) parameters.push_back(Add({.name = name + ".bias", .shape = {outputs}}));
  return AddLayer(name, LayerKind::kLinear, inputs, outputs, std::move(parameters));
}

UnitBuilder& UnitBuilder::Table(const std::string& name, LayerKind kind, int64_t rows,
                                int64_t width, double stddev) {
  const int weight = Add({.name = name + ".weight",
                          .shape = {rows, width},
                          .init = Init::kNormal,
                          .init_stddev = stddev,
                          .weight_decay = true});
  return AddLayer(name, kind, rows, width, {weight});
}

UnitBuilder& UnitBuilder::LayerNorm(const std::string& name, int64_t width) {
  const int gain = Add({.name = name + ".weight", .shape = {width}, .init = Init::kOnes});
  const int bias = Add({.name = name + ".bias", .shape = {width}});
  return AddLayer(name, LayerKind::kLayerNorm, width, width, {gain, bias});
}

UnitBuilder& UnitBuilder::RmsNorm(const std::string& name, int64_t width) {
  const int gain = Add({.name = name + ".weight", .shape = {width}, .init = Init::kOnes});
  return AddLayer(name, LayerKind::kRmsNorm, width, width, {gain});
}

UnitBuilder& UnitBuilder::Conv2d(const std::string& name, std::vector<int64_t> weight_shape,
                                 double stddev) {
  const int64_t outputs = weight_shape[0];
  const int64_t patch = weight_shape[1] * weight_shape[2] * weight_shape[3];
  const int weight = Add({.name = name + ".weight",
                          .shape = std::move(weight_shape),
                          .init = Init::kNormal,
                          .init_stddev = stddev,
                          .weight_decay = true});
  return AddLayer(name, LayerKind::kConv2d, patch, outputs, {weight});
}

UnitBuilder& UnitBuilder::GroupNorm(const std::string& name, int64_t channels) {
  const int gain = Add({.name = name + ".weight", .shape = {channels}, .init = Init::kOnes});
  const int bias = Add({.name = name + ".bias", .shape = {channels}});
  return AddLayer(name, LayerKind::kGroupNorm, channels, channels, {gain, bias});
}

UnitBuilder& UnitBuilder::InLastStage() {
  unit_.layers.back().in_last_stage = true;
  return *this;
}

UnitBuilder& UnitBuilder::OneRowPerExample() {
  unit_.layers.back().one_row_per_example = true;
  return *this;
}

UnitBuilder& UnitBuilder::RowsPerToken(double rows) {
  unit_.layers.back().rows_per_token = rows;
  return *this;
}

void AddUnits(
    UnitDescription root, int64_t blocks,
    absl::FunctionRef<UnitDescription(int64_t index)> make_block,
    absl::FunctionRef<StageTraces(const UnitDescription& root, const UnitDescription& block)>
        traces,
    ModelDescription& model) {
  model.units.push_back(std::move(root));
  model.stages.push_back(0);
  for (int64_t i = 0; i < blocks; ++i) {
    model.units.push_back(make_block(i));
    model.stages.push_back(static_cast<int>(i) + 1);
  }
  model.stages.push_back(0);
  const StageTraces made = traces(model.units[0], model.units[1]);
  model.footprints.push_back(made.embedding);
  model.footprints.insert(model.footprints.end(), static_cast<size_t>(blocks), made.block);
  model.footprints.push_back(made.head);
}

TraceBuilder::Value TraceAttention(const BranchSizes& sizes, TraceBuilder::Value input,
                                   TraceBuilder& t) {
  const auto projected = t.Layer("attention.qkv", input);
  t.Keep(t.PerToken(sizes.rows * 3 * sizes.width));  // q, k and v apart
  const auto attended = t.PerToken(sizes.rows * sizes.width);
  t.Keep(attended);
  t.Keep(t.PerToken(sizes.rows * (sizes.heads + 1)));  // logsumexp, the mask's bias
  const auto output = t.Layer("attention.output", attended);
  t.Drop(projected);
  return output;
}

TraceBuilder::Value TraceAttentionBackward(const BranchSizes& sizes,
                                           TraceBuilder::Value output_grads, TraceBuilder& t) {
  const auto attended_grads = t.Through("attention.output", output_grads);
  const auto apart = t.PerToken(sizes.rows * 3 * sizes.width);  // gradients of q, k and v
  t.Drop(attended_grads);
  const auto joined = t.PerToken(sizes.rows * 3 * sizes.width);
  const auto input_grads = t.Through("attention.qkv", joined);
  t.Drop(joined);
  t.Drop(apart);
  return input_grads;
}

TraceBuilder::Value TraceFeedForward(const BranchSizes& sizes, TraceBuilder::Value input,
                                     TraceBuilder& t) {
  t.Keep(t.Layer("mlp.up", input));
  const auto activated = t.PerToken(sizes.rows * sizes.mlp_width);
  const auto output = t.Layer("mlp.down", activated);
  t.Drop(activated);
  return output;
}

TraceBuilder::Value TraceFeedForwardBackward(const BranchSizes& sizes,
                                             TraceBuilder::Value output_grads, TraceBuilder& t) {
  const auto activated_grads = t.Through("mlp.down", output_grads);
  const auto up_grads = t.PerToken(sizes.rows * sizes.mlp_width);
  t.Drop(activated_grads);
  const auto input_grads = t.Through("mlp.up", up_grads);
  t.Drop(up_grads);
  return input_grads;
}

StageTrace EncoderBlockTrace(const UnitDescription& block, const BranchSizes& sizes) {
  TraceBuilder t(block);
  const auto middle = TraceAttention(sizes, t.Layer("norm_1", t.Argument()), t);
  t.Return(TraceFeedForward(sizes, t.Layer("norm_2", middle), t));

  t.StartBackward();
  const auto norm_2_grads = TraceFeedForwardBackward(sizes, t.Argument(), t);
  const auto middle_grads = t.Through("norm_2", norm_2_grads);
  t.Drop(norm_2_grads);
  const auto norm_1_grads = TraceAttentionBackward(sizes, middle_grads, t);
  t.Return(t.Through("norm_1", norm_1_grads));
  return t.Build();
}

StageTrace EmbeddingTrace(const UnitDescription& root, absl::string_view tokens,
                          absl::string_view positions) {
  TraceBuilder t(root);
  const auto embedded = t.Layer(tokens, t.Argument());
  t.Return(positions.empty() ? embedded : t.Layer(positions, embedded));
  t.StartBackward();
  t.Through(tokens, t.Argument());
  if (!positions.empty()) t.Through(positions, t.Argument());
  return t.Build();
}

StageTrace LanguageHeadTrace(const UnitDescription& root, absl::string_view norm,
                             absl::string_view head) {
  TraceBuilder t(root);
  t.Keep(t.PerToken(1));  // The mask over the example's number of tokens.
  t.Head(head, t.Layer(norm, t.Argument()));
  t.StartBackward();
  t.Return(t.Through(norm, t.HeadThrough(head)));
  return t.Build();
}

}  // namespace sotto::layout
