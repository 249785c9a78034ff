#include "common/layout/encoder_description.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"
#include "common/layout/trace_builder.h"

namespace sotto::layout {
namespace {

constexpr char kFamily[] = "encoder";

EncoderDimensions Resolved(EncoderDimensions dimensions) {
  if (dimensions.mlp_width == 0) dimensions.mlp_width = 4 * dimensions.width;
  return dimensions;
}

absl::Status CheckDimensions(const EncoderDimensions& dimensions) {
  for (const absl::Status& status :
       {RequireAtLeast(kFamily, "vocabulary_size", dimensions.vocabulary_size, 2),
        RequireAtLeast(kFamily, "width", dimensions.width, 1),
        RequireAtLeast(kFamily, "layers", dimensions.layers, 1),
        RequireAtLeast(kFamily, "heads", dimensions.heads, 1),
        RequireAtLeast(kFamily, "mlp_width", dimensions.mlp_width, 1),
        RequireAtLeast(kFamily, "max_length", dimensions.max_length, 1),
        RequireAtLeast(kFamily, "classes", dimensions.classes, 2),
        RequirePositive(kFamily, "layer_norm_epsilon", dimensions.layer_norm_epsilon),
        RequirePositive(kFamily, "init_stddev", dimensions.init_stddev, /*zero_allowed=*/true)}) {
    if (!status.ok()) return status;
  }
  if (dimensions.width % dimensions.heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("encoder.width must be divisible by heads, but ",
                                                   dimensions.width, " is not by ",
                                                   dimensions.heads));
  }
  return absl::OkStatus();
}

UnitDescription Root(const EncoderDimensions& d) {
  UnitBuilder root("root");
  root.Table("tokens", LayerKind::kEmbedding, d.vocabulary_size, d.width, d.init_stddev)
      .Table("positions", LayerKind::kPositions, d.max_length, d.width, d.init_stddev);
  root.LayerNorm("norm", d.width).InLastStage();
  root.Linear("classifier", {d.classes, d.width}, d.width, d.classes, /*bias=*/false, d.init_stddev)
      .InLastStage()
      .OneRowPerExample();
  return root.Build();
}

UnitDescription Block(const EncoderDimensions& d, int64_t index) {
  const std::string prefix = absl::StrCat("blocks.", index, ".");
  UnitBuilder block(absl::StrCat("blocks.", index));
  const auto linear = [&](const char* name, int64_t inputs, int64_t outputs) {
    block.Linear(prefix + name, {outputs, inputs}, inputs, outputs, /*bias=*/false, d.init_stddev);
  };
  block.LayerNorm(prefix + "norm_1", d.width);
  linear("attention.qkv", d.width, 3 * d.width);
  linear("attention.output", d.width, d.width);
  block.LayerNorm(prefix + "norm_2", d.width);
  linear("mlp.up", d.width, d.mlp_width);
  linear("mlp.down", d.mlp_width, d.width);
  return block.Build();
}

// worker/models/pooled_head.cc over tokens, line by line.
StageTrace HeadTrace(const UnitDescription& root, const EncoderDimensions& d) {
  const auto width = static_cast<double>(d.width);
  TraceBuilder t(root);
  t.Keep(t.PerToken(1));  // pooling weights
  t.Layer("norm", t.Argument());
  t.Scratch({.per_token = width});  // weighted, before the sum
  t.Keep(t.Layer("classifier", t.PerExample(width)));

  t.StartBackward();
  const auto pooled_grads = t.Through("classifier", t.PerExample(static_cast<double>(d.classes)));
  t.Drop(pooled_grads);
  t.Return(t.Through("norm", t.PerToken(width)));
  return t.Build();
}

}  // namespace

absl::StatusOr<ModelDescription> MakeEncoderDescription(const EncoderDimensions& given) {
  const EncoderDimensions dimensions = Resolved(given);
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  AddUnits(
      Root(dimensions), dimensions.layers, [&](int64_t index) { return Block(dimensions, index); },
      [&](const UnitDescription& root, const UnitDescription& block) -> StageTraces {
        return {.embedding = EmbeddingTrace(root, "tokens", "positions"),
                .block = EncoderBlockTrace(block,
                                           {.width = static_cast<double>(dimensions.width),
                                            .mlp_width = static_cast<double>(dimensions.mlp_width),
                                            .heads = static_cast<double>(dimensions.heads)}),
                .head = HeadTrace(root, dimensions)};
      },
      model);
  return model;
}

}  // namespace sotto::layout
