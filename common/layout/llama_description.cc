#include "common/layout/llama_description.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"

namespace sotto::layout {
namespace {

constexpr char kFamily[] = "llama";

LlamaDimensions Resolved(LlamaDimensions dimensions) {
  if (dimensions.key_value_heads == 0) dimensions.key_value_heads = dimensions.heads;
  if (dimensions.head_width == 0 && dimensions.heads > 0) {
    dimensions.head_width = dimensions.width / dimensions.heads;
  }
  return dimensions;
}

absl::Status CheckRotary(const RotaryPositions& rotary) {
  for (const absl::Status& status :
       {RequirePositive(kFamily, "rotary.base", rotary.base),
        RequirePositive(kFamily, "rotary.factor", rotary.factor),
        RequireAtLeast(kFamily, "rotary.original_max_length", rotary.original_max_length, 0),
        RequirePositive(kFamily, "rotary.attention_factor", rotary.attention_factor, true),
        RequirePositive(kFamily, "rotary.beta_fast", rotary.beta_fast),
        RequirePositive(kFamily, "rotary.beta_slow", rotary.beta_slow)}) {
    if (!status.ok()) return status;
  }
  if (rotary.scaling == RotaryScaling::kLlama3 &&
      !(rotary.low_frequency_factor > 0 &&
        rotary.high_frequency_factor > rotary.low_frequency_factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("llama.rotary.high_frequency_factor must be above low_frequency_factor, but ",
                     rotary.high_frequency_factor, " is not above ", rotary.low_frequency_factor));
  }
  return absl::OkStatus();
}

absl::Status CheckDimensions(const LlamaDimensions& dimensions) {
  for (const absl::Status& status :
       {RequireAtLeast(kFamily, "vocabulary_size", dimensions.vocabulary_size, 2),
        RequireAtLeast(kFamily, "width", dimensions.width, 1),
        RequireAtLeast(kFamily, "layers", dimensions.layers, 1),
        RequireAtLeast(kFamily, "heads", dimensions.heads, 1),
        RequireAtLeast(kFamily, "key_value_heads", dimensions.key_value_heads, 1),
        RequireAtLeast(kFamily, "head_width", dimensions.head_width, 2),
        RequireAtLeast(kFamily, "mlp_width", dimensions.mlp_width, 1),
        RequireAtLeast(kFamily, "max_length", dimensions.max_length, 1),
        RequirePositive(kFamily, "rms_norm_epsilon", dimensions.rms_norm_epsilon),
        RequirePositive(kFamily, "init_stddev", dimensions.init_stddev, /*zero_allowed=*/true),
        CheckRotary(dimensions.rotary)}) {
    if (!status.ok()) return status;
  }
  if (dimensions.heads % dimensions.key_value_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("llama.heads must be divisible by key_value_heads, but ", dimensions.heads,
                     " is not by ", dimensions.key_value_heads));
  }
  if (dimensions.head_width % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "llama.head_width must be even (rotary pairs), but is ", dimensions.head_width));
  }
  if (dimensions.rotary.scaling == RotaryScaling::kDynamic && dimensions.head_width <= 2) {
    return absl::InvalidArgumentError("llama.head_width must be above 2 with dynamic scaling");
  }
  return absl::OkStatus();
}

UnitDescription Root(const LlamaDimensions& d) {
  UnitBuilder root("root");
  root.Table("embed_tokens", d.tied_head ? LayerKind::kTiedEmbedding : LayerKind::kEmbedding,
             d.vocabulary_size, d.width, d.init_stddev);
  root.RmsNorm("norm", d.width).InLastStage();
  if (!d.tied_head) {
    root.Linear("lm_head", {d.vocabulary_size, d.width}, d.width, d.vocabulary_size,
                /*bias=*/false, d.init_stddev)
        .InLastStage();
  }
  return root.Build();
}

UnitDescription Block(const LlamaDimensions& d, int64_t index) {
  const std::string prefix = absl::StrCat("layers.", index, ".");
  UnitBuilder block(absl::StrCat("layers.", index));
  const auto linear = [&](const char* name, int64_t inputs, int64_t outputs, bool bias) {
    block.Linear(prefix + name, {outputs, inputs}, inputs, outputs, bias, d.init_stddev);
  };
  const int64_t queries = d.heads * d.head_width;
  const int64_t keys = d.key_value_heads * d.head_width;
  block.RmsNorm(prefix + "input_layernorm", d.width);
  linear("self_attn.q_proj", d.width, queries, d.query_key_value_bias);
  linear("self_attn.k_proj", d.width, keys, d.query_key_value_bias);
  linear("self_attn.v_proj", d.width, keys, d.query_key_value_bias);
  linear("self_attn.o_proj", queries, d.width, d.attention_output_bias);
  if (d.query_key_norm) {
    block.RmsNorm(prefix + "self_attn.q_norm", d.head_width)
        .RowsPerToken(static_cast<double>(d.heads));
    block.RmsNorm(prefix + "self_attn.k_norm", d.head_width)
        .RowsPerToken(static_cast<double>(d.key_value_heads));
  }
  block.RmsNorm(prefix + "post_attention_layernorm", d.width);
  linear("mlp.gate_proj", d.width, d.mlp_width, d.mlp_bias);
  linear("mlp.up_proj", d.width, d.mlp_width, d.mlp_bias);
  linear("mlp.down_proj", d.mlp_width, d.width, d.mlp_bias);
  return block.Build();
}

// Kept per token by a block: its input, both norms' outputs and the sum after attention (4 d),
// queries and attention's output (2 heads x head width), keys and values, the gate before and after
// its activation's product, the up projection (3 m), the norms' statistics (2), attention's
// logsumexp.
//
// Alive at once inside its backward: gradients of gate, up and their product (3 m), of queries,
// keys and values before and after the rotation, keys and values repeated for every head, the
// residual stream and its branches (4 d), and ATen's copies of the attention's operands.
//
// Norms of queries and keys keep both before the norm, with the statistics of every head, and have
// their gradients before and after it at once.
StageFootprint BlockFootprint(const LlamaDimensions& d) {
  const auto width = static_cast<double>(d.width);
  const auto mlp_width = static_cast<double>(d.mlp_width);
  const auto queries = static_cast<double>(d.heads * d.head_width);
  const auto keys = static_cast<double>(d.key_value_heads * d.head_width);
  StageFootprint footprint = {
      .kept_per_token =
          4 * width + 2 * queries + 2 * keys + 3 * mlp_width + 2 + static_cast<double>(d.heads),
      .workspace_per_token = 6 * width + 12 * queries + 4 * keys + 4 * mlp_width};
  if (d.query_key_norm) {
    footprint.kept_per_token += queries + keys + static_cast<double>(d.heads + d.key_value_heads);
    footprint.workspace_per_token += queries + keys;
  }
  return footprint;
}

// Logits and their gradient. A tied head keeps T values per token for the norm's cross term.
StageFootprint HeadFootprint(const LlamaDimensions& d) {
  const auto width = static_cast<double>(d.width);
  return {.kept_per_token = 2 * width + 1,
          .workspace_per_token = static_cast<double>(d.vocabulary_size) + 2 * width,
          .weight_grad_per_token = static_cast<double>(d.vocabulary_size),
          .second_pass_per_token = static_cast<double>(d.vocabulary_size),
          .norms_per_token_sq = d.tied_head ? 1.0 : 0.0};
}

}  // namespace

absl::StatusOr<ModelDescription> MakeLlamaDescription(const LlamaDimensions& given) {
  const LlamaDimensions dimensions = Resolved(given);
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  AddUnits(
      Root(dimensions), dimensions.layers, [&](int64_t index) { return Block(dimensions, index); },
      BlockFootprint(dimensions), HeadFootprint(dimensions), model);
  return model;
}

}  // namespace sotto::layout
