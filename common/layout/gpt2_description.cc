#include "common/layout/gpt2_description.h"

#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"
#include "common/layout/trace_builder.h"

namespace sotto::layout {
namespace {

constexpr char kFamily[] = "gpt2";

absl::Status CheckDimensions(const Gpt2Dimensions& dimensions) {
  for (const absl::Status& status :
       {RequireAtLeast(kFamily, "vocabulary_size", dimensions.vocabulary_size, 2),
        RequireAtLeast(kFamily, "width", dimensions.width, 1),
        RequireAtLeast(kFamily, "layers", dimensions.layers, 1),
        RequireAtLeast(kFamily, "heads", dimensions.heads, 1),
        RequireAtLeast(kFamily, "max_length", dimensions.max_length, 1)}) {
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
  if (absl::Status status =
          RequirePositive(kFamily, "layer_norm_epsilon", dimensions.layer_norm_epsilon);
      !status.ok()) {
    return status;
  }
  return RequirePositive(kFamily, "init_stddev", dimensions.init_stddev, /*zero_allowed=*/true);
}

int64_t MlpWidth(const Gpt2Dimensions& dimensions) {
  return dimensions.mlp_width > 0 ? dimensions.mlp_width : 4 * dimensions.width;
}

UnitDescription Root(const Gpt2Dimensions& d) {
  UnitBuilder root("root");
  root.Table("wte", d.tied_head ? LayerKind::kTiedEmbedding : LayerKind::kEmbedding,
             d.vocabulary_size, d.width, d.init_stddev)
      .Table("wpe", LayerKind::kPositions, d.max_length, d.width, d.init_stddev);
  root.LayerNorm("ln_f", d.width).InLastStage();
  if (!d.tied_head) {
    root.Linear("lm_head", {d.vocabulary_size, d.width}, d.width, d.vocabulary_size,
                /*bias=*/false, d.init_stddev)
        .InLastStage();
  }
  return root.Build();
}

UnitDescription Block(const Gpt2Dimensions& d, int64_t index) {
  const double residual_stddev = d.init_stddev / std::sqrt(2.0 * static_cast<double>(d.layers));
  const std::string prefix = absl::StrCat("h.", index, ".");
  UnitBuilder block(absl::StrCat("h.", index));
  const auto linear = [&](const char* name, int64_t inputs, int64_t outputs, double stddev) {
    block.Linear(prefix + name, {inputs, outputs}, inputs, outputs, /*bias=*/true, stddev);
  };
  block.LayerNorm(prefix + "ln_1", d.width);
  linear("attn.c_attn", d.width, 3 * d.width, d.init_stddev);
  linear("attn.c_proj", d.width, d.width, residual_stddev);
  block.LayerNorm(prefix + "ln_2", d.width);
  linear("mlp.c_fc", d.width, MlpWidth(d), d.init_stddev);
  linear("mlp.c_proj", MlpWidth(d), d.width, residual_stddev);
  return block.Build();
}

// worker/models/gpt2_block.cc, line by line.
StageTrace BlockTrace(const UnitDescription& block, const Gpt2Dimensions& d) {
  const auto width = static_cast<double>(d.width);
  TraceBuilder t(block);
  const auto normalised = t.Layer("ln_1", t.Argument());
  const auto qkv = t.Layer("attn.c_attn", normalised);
  t.Keep(qkv);
  const auto attended = t.PerToken(width);
  t.Keep(attended);
  t.Keep(t.PerToken(static_cast<double>(d.heads)));  // logsumexp
  const auto middle = t.Layer("attn.c_proj", attended);
  const auto normalised_2 = t.Layer("ln_2", middle);
  const auto fc_output = t.Layer("mlp.c_fc", normalised_2);
  t.Keep(fc_output);
  const auto activated = t.PerToken(static_cast<double>(MlpWidth(d)));
  t.Return(t.Layer("mlp.c_proj", activated));

  t.StartBackward();
  const auto fc_grads = t.Through("mlp.c_proj", t.Argument());
  const auto ln_2_grads = t.Through("mlp.c_fc", fc_grads);
  t.Drop(fc_grads);
  const auto middle_grads = t.Through("ln_2", ln_2_grads);
  t.Through("attn.c_proj", middle_grads);
  const auto apart = t.PerToken(3 * width);  // gradients of q, k and v
  const auto qkv_grads = t.PerToken(3 * width);
  t.Drop(apart);
  const auto ln_1_grads = t.Through("attn.c_attn", qkv_grads);
  t.Return(t.Through("ln_1", ln_1_grads));
  return t.Build();
}

}  // namespace

absl::StatusOr<ModelDescription> MakeGpt2Description(const Gpt2Dimensions& dimensions) {
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  AddUnits(
      Root(dimensions), dimensions.layers, [&](int64_t index) { return Block(dimensions, index); },
      [&](const UnitDescription& root, const UnitDescription& block) -> StageTraces {
        return {.embedding = EmbeddingTrace(root, "wte", "wpe"),
                .block = BlockTrace(block, dimensions),
                .head = LanguageHeadTrace(root, "ln_f", dimensions.tied_head ? "wte" : "lm_head")};
      },
      model);
  return model;
}

}  // namespace sotto::layout
