#include "common/layout/image_descriptions.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"
#include "common/layout/image_traces.h"

namespace sotto::layout {
namespace {

// The root first and last, every block once between.
template <typename Dimensions>
ModelDescription Assemble(const Dimensions& dimensions, UnitDescription root, size_t blocks,
                          absl::FunctionRef<UnitDescription(size_t index)> make_block) {
  ModelDescription model{.family = dimensions};
  model.units.push_back(std::move(root));
  model.stages.push_back(0);
  for (size_t i = 0; i < blocks; ++i) {
    model.units.push_back(make_block(i));
    model.stages.push_back(static_cast<int>(i) + 1);
  }
  model.stages.push_back(0);
  return model;
}

// Keeps the scale of values through layers with half-waves (He et al. 2015).
double HeStddev(int64_t inputs) { return std::sqrt(2.0 / static_cast<double>(inputs)); }

absl::Status CheckOutputs(const char* family, int64_t outputs, Loss loss) {
  return RequireAtLeast(family, "outputs", outputs, loss == Loss::kClassification ? 2 : 1);
}

absl::Status CheckEach(const char* family, const char* name, const std::vector<int64_t>& values) {
  for (int64_t value : values) {
    if (absl::Status status = RequireAtLeast(family, name, value, 1); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckDivides(const char* family, const char* name, int64_t value, const char* whole,
                          int64_t of) {
  if (of % value == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(family, ".", name, " must divide ", whole,
                                                 ", but ", value, " does not divide ", of));
}

// Half of the time step's features are sines, half cosines.
absl::Status CheckEven(const char* family, int64_t width) {
  if (width % 2 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(family, ".width must be even, but is ", width));
}

absl::Status FirstError(std::initializer_list<absl::Status> statuses) {
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// What ViT and DiT have.
template <typename Dimensions>
absl::Status CheckTransformer(const char* family, const Dimensions& d) {
  const absl::Status ranges = FirstError(
      {RequireAtLeast(family, "channels", d.grid.channels, 1),
       RequireAtLeast(family, "image_size", d.grid.image_size, 1),
       RequireAtLeast(family, "patch_size", d.grid.patch_size, 1),
       RequireAtLeast(family, "width", d.width, 1), RequireAtLeast(family, "layers", d.layers, 1),
       RequireAtLeast(family, "heads", d.heads, 1),
       RequireAtLeast(family, "mlp_width", d.mlp_width, 1),
       RequirePositive(family, "init_stddev", d.init_stddev, /*zero_allowed=*/true)});
  if (!ranges.ok()) return ranges;
  return FirstError(
      {CheckDivides(family, "patch_size", d.grid.patch_size, "image_size", d.grid.image_size),
       CheckDivides(family, "heads", d.heads, "width", d.width)});
}

void AddLinear(UnitBuilder& unit, const std::string& name, int64_t inputs, int64_t outputs,
               double stddev) {
  unit.Linear(name, {outputs, inputs}, inputs, outputs, /*bias=*/true, stddev);
}

UnitDescription HeadRoot(int64_t inputs, int64_t outputs) {
  UnitBuilder root("root");
  AddLinear(root, "head", inputs, outputs, 1 / std::sqrt(static_cast<double>(inputs)));
  root.InLastStage().OneRowPerExample();
  return root.Build();
}

// The linear maps of a transformer block over `rows` rows.
template <typename Dimensions>
void AddAttention(UnitBuilder& block, const std::string& prefix, const Dimensions& d, double rows) {
  AddLinear(block, prefix + "attention.qkv", d.width, 3 * d.width, d.init_stddev);
  block.RowsPerToken(rows);
  AddLinear(block, prefix + "attention.output", d.width, d.width, d.init_stddev);
  block.RowsPerToken(rows);
}

template <typename Dimensions>
void AddMlp(UnitBuilder& block, const std::string& prefix, const Dimensions& d, double rows) {
  AddLinear(block, prefix + "mlp.up", d.width, d.mlp_width, d.init_stddev);
  block.RowsPerToken(rows);
  AddLinear(block, prefix + "mlp.down", d.mlp_width, d.width, d.init_stddev);
  block.RowsPerToken(rows);
}

UnitDescription CnnStage(const CnnDimensions& d, size_t index) {
  const std::string prefix = absl::StrCat("stages.", index, ".");
  UnitBuilder stage(absl::StrCat("stages.", index));
  const int64_t outputs = d.stage_channels[index];
  const auto positions = static_cast<double>(d.StageHeight(static_cast<int64_t>(index)) *
                                             d.StageWidth(static_cast<int64_t>(index)));
  int64_t inputs = index == 0 ? d.channels : d.stage_channels[index - 1];
  for (const char* number : {"1", "2"}) {
    stage
        .Conv2d(absl::StrCat(prefix, "conv_", number), {outputs, inputs, 3, 3},
                HeStddev(inputs * 9))
        .RowsPerToken(positions);
    stage.GroupNorm(absl::StrCat(prefix, "norm_", number), outputs).RowsPerToken(positions);
    inputs = outputs;
  }
  return stage.Build();
}

UnitDescription VitRoot(const VitDimensions& d) {
  const auto patches = static_cast<double>(d.grid.patches());
  UnitBuilder root("root");
  AddLinear(root, "patches", d.grid.patch_values(), d.width, d.init_stddev);
  root.RowsPerToken(patches);
  root.Table("class_token", LayerKind::kEmbedding, 1, d.width, d.init_stddev).OneRowPerExample();
  root.Table("positions", LayerKind::kPositions, d.grid.patches() + 1, d.width, d.init_stddev)
      .RowsPerToken(patches + 1);
  root.LayerNorm("norm", d.width).InLastStage().OneRowPerExample();
  AddLinear(root, "head", d.width, d.outputs, d.init_stddev);
  root.InLastStage().OneRowPerExample();
  return root.Build();
}

UnitDescription VitBlock(const VitDimensions& d, size_t index) {
  const std::string prefix = absl::StrCat("blocks.", index, ".");
  const auto rows = static_cast<double>(d.grid.patches() + 1);
  UnitBuilder block(absl::StrCat("blocks.", index));
  block.LayerNorm(prefix + "norm_1", d.width).RowsPerToken(rows);
  AddAttention(block, prefix, d, rows);
  block.LayerNorm(prefix + "norm_2", d.width).RowsPerToken(rows);
  AddMlp(block, prefix, d, rows);
  return block.Build();
}

UnitDescription DitRoot(const DitDimensions& d) {
  const auto patches = static_cast<double>(d.grid.patches());
  UnitBuilder root("root");
  AddLinear(root, "patches", d.grid.patch_values(), d.width, d.init_stddev);
  root.RowsPerToken(patches);
  root.Table("positions", LayerKind::kPositions, d.grid.patches(), d.width, d.init_stddev)
      .RowsPerToken(patches);
  AddLinear(root, "time.up", d.width, d.width, d.init_stddev);
  root.OneRowPerExample();
  AddLinear(root, "time.down", d.width, d.width, d.init_stddev);
  root.OneRowPerExample();
  if (d.classes > 0) {
    root.Table("classes", LayerKind::kEmbedding, d.classes, d.width, d.init_stddev)
        .OneRowPerExample();
  }
  AddLinear(root, "final.modulation", d.width, 2 * d.width, /*stddev=*/0);
  root.InLastStage().OneRowPerExample();
  AddLinear(root, "final.projection", d.width, d.grid.patch_values(), /*stddev=*/0);
  root.InLastStage().RowsPerToken(patches);
  return root.Build();
}

UnitDescription DitBlock(const DitDimensions& d, size_t index) {
  const std::string prefix = absl::StrCat("blocks.", index, ".");
  const auto patches = static_cast<double>(d.grid.patches());
  UnitBuilder block(absl::StrCat("blocks.", index));
  AddLinear(block, prefix + "modulation", d.width, 6 * d.width, /*stddev=*/0);
  block.OneRowPerExample();
  AddAttention(block, prefix, d, patches);
  AddMlp(block, prefix, d, patches);
  return block.Build();
}

}  // namespace

absl::StatusOr<ModelDescription> MakeMlpDescription(const MlpDimensions& d) {
  const absl::Status status = FirstError({RequireAtLeast("mlp", "inputs", d.inputs, 1),
                                          CheckEach("mlp", "hidden_widths", d.hidden_widths),
                                          CheckOutputs("mlp", d.outputs, d.loss)});
  if (!status.ok()) return status;
  const auto inputs_of = [&d](size_t layer) {
    return layer == 0 ? d.inputs : d.hidden_widths[layer - 1];
  };
  const size_t layers = d.hidden_widths.size();
  ModelDescription model =
      Assemble(d, HeadRoot(inputs_of(layers), d.outputs), layers, [&](size_t i) {
        const std::string name = absl::StrCat("layers.", i);
        UnitBuilder layer(name);
        AddLinear(layer, name, inputs_of(i), d.hidden_widths[i], HeStddev(inputs_of(i)));
        layer.OneRowPerExample();
        return layer.Build();
      });
  model.footprints = MlpTraces(model, d);
  return model;
}

absl::StatusOr<ModelDescription> MakeCnnDescription(const CnnDimensions& d) {
  const absl::Status status = FirstError(
      {RequireAtLeast("cnn", "channels", d.channels, 1),
       RequireAtLeast("cnn", "height", d.height, 1), RequireAtLeast("cnn", "width", d.width, 1),
       RequireAtLeast("cnn", "number of stage_channels",
                      static_cast<int64_t>(d.stage_channels.size()), 1),
       CheckEach("cnn", "stage_channels", d.stage_channels),
       RequireAtLeast("cnn", "groups", d.groups, 1), CheckOutputs("cnn", d.outputs, d.loss)});
  if (!status.ok()) return status;
  for (int64_t channels : d.stage_channels) {
    const absl::Status divides =
        CheckDivides("cnn", "groups", d.groups, "every stage's channels", channels);
    if (!divides.ok()) return divides;
  }
  ModelDescription model =
      Assemble(d, HeadRoot(d.stage_channels.back(), d.outputs), d.stage_channels.size(),
               [&](size_t i) { return CnnStage(d, i); });
  model.footprints = CnnTraces(model, d);
  return model;
}

absl::StatusOr<ModelDescription> MakeVitDescription(const VitDimensions& given) {
  VitDimensions d = given;
  if (d.mlp_width == 0) d.mlp_width = 4 * d.width;
  const absl::Status status =
      FirstError({CheckTransformer("vit", d),
                  RequirePositive("vit", "layer_norm_epsilon", d.layer_norm_epsilon),
                  CheckOutputs("vit", d.outputs, d.loss)});
  if (!status.ok()) return status;
  ModelDescription model = Assemble(d, VitRoot(d), static_cast<size_t>(d.layers),
                                    [&](size_t i) { return VitBlock(d, i); });
  model.footprints = VitTraces(model, d);
  return model;
}

absl::StatusOr<ModelDescription> MakeDitDescription(const DitDimensions& given) {
  DitDimensions d = given;
  if (d.mlp_width == 0) d.mlp_width = 4 * d.width;
  const absl::Status status =
      FirstError({CheckTransformer("dit", d), RequireAtLeast("dit", "classes", d.classes, 0),
                  RequireAtLeast("dit", "time_steps", d.time_steps, 1), CheckEven("dit", d.width)});
  if (!status.ok()) return status;
  ModelDescription model = Assemble(d, DitRoot(d), static_cast<size_t>(d.layers),
                                    [&](size_t i) { return DitBlock(d, i); });
  model.footprints = DitTraces(model, d);
  return model;
}

}  // namespace sotto::layout
