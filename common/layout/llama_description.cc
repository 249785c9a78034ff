#include "common/layout/llama_description.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"
#include "common/layout/trace_builder.h"

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

struct Widths {
  explicit Widths(const LlamaDimensions& d)
      : mlp(static_cast<double>(d.mlp_width)),
        queries(static_cast<double>(d.heads * d.head_width)),
        keys(static_cast<double>(d.key_value_heads * d.head_width)),
        repeats_keys(d.heads != d.key_value_heads),
        norms_heads(d.query_key_norm) {}

  const double mlp;
  const double queries;
  const double keys;
  const bool repeats_keys;  // once for each head
  const bool norms_heads;
};

// Run of worker/models/llama_block.cc and Forward of worker/nn/grouped_attention.cc, line by line.
void TraceForward(const Widths& widths, double heads, TraceBuilder& t) {
  const auto normalised = t.Layer("input_layernorm", t.Argument());
  const auto queries = t.Layer("self_attn.q_proj", normalised);
  const auto keys = t.Layer("self_attn.k_proj", normalised);
  const auto values = t.Layer("self_attn.v_proj", normalised);
  if (widths.norms_heads) {
    t.Layer("self_attn.q_norm", queries);
    t.Layer("self_attn.k_norm", keys);
  }
  t.Keep(t.PerToken(widths.queries));  // turned
  const auto turned_keys = t.PerToken(widths.keys);
  if (widths.repeats_keys) {
    t.Keep(t.PerToken(2 * widths.queries));  // keys and values, repeated
  } else {
    t.Keep(turned_keys);
    t.Keep(values);
  }
  const auto attended = t.PerToken(widths.queries);
  t.Keep(attended);
  t.Keep(t.PerToken(heads));  // logsumexp
  for (const auto dropped : {queries, keys, values, turned_keys}) t.Drop(dropped);
  const auto middle = t.Layer("self_attn.o_proj", attended);
  const auto normalised_2 = t.Layer("post_attention_layernorm", middle);
  const auto gate_output = t.Layer("mlp.gate_proj", normalised_2);
  t.Keep(gate_output);
  const auto up_output = t.Layer("mlp.up_proj", normalised_2);
  t.Keep(up_output);
  t.Return(t.Layer("mlp.down_proj", t.PerToken(widths.mlp)));
}

// MlpBackward.
TraceBuilder::Value TraceMlpBackward(const Widths& widths, TraceBuilder& t) {
  const auto gated_grads = t.Through("mlp.down_proj", t.Argument());
  const auto gate_grads = t.PerToken(widths.mlp);
  const auto up_grads = t.PerToken(widths.mlp);
  const auto input_grads = t.Through("mlp.up_proj", up_grads);
  t.Drop(t.Through("mlp.gate_proj", gate_grads));
  for (const auto dropped : {gated_grads, gate_grads, up_grads}) t.Drop(dropped);
  return input_grads;
}

// AttentionBackward, and Backward of worker/nn/grouped_attention.cc.
TraceBuilder::Value TraceAttentionBackward(const Widths& widths, TraceBuilder& t,
                                           TraceBuilder::Value output_grads) {
  const auto attended_grads = t.Through("self_attn.o_proj", output_grads);
  const auto apart = t.PerToken(widths.queries);  // gradients of queries
  const auto repeated_keys = t.PerToken(widths.queries);
  auto values = t.PerToken(widths.queries);
  const auto summed_keys = widths.repeats_keys ? t.PerToken(widths.keys) : repeated_keys;
  const auto queries = t.PerToken(widths.queries);  // turned back
  const auto keys = t.PerToken(widths.keys);
  if (widths.repeats_keys) {
    t.Drop(summed_keys);
    const auto repeated_values = values;
    values = t.PerToken(widths.keys);
    t.Drop(repeated_values);
  }
  t.Drop(apart);
  t.Drop(repeated_keys);
  const auto input_grads = t.Through("self_attn.v_proj", values);
  const auto key_grads = widths.norms_heads ? t.Through("self_attn.k_norm", keys) : keys;
  t.Drop(t.Through("self_attn.k_proj", key_grads));
  const auto query_grads = widths.norms_heads ? t.Through("self_attn.q_norm", queries) : queries;
  t.Drop(t.Through("self_attn.q_proj", query_grads));
  for (const auto dropped : {attended_grads, queries, keys, values, key_grads, query_grads}) {
    t.Drop(dropped);
  }
  return input_grads;
}

StageTrace BlockTrace(const UnitDescription& block, const LlamaDimensions& d) {
  const Widths widths(d);
  TraceBuilder t(block);
  TraceForward(widths, static_cast<double>(d.heads), t);
  t.StartBackward();
  const auto norm_2_grads = TraceMlpBackward(widths, t);
  const auto middle_grads = t.Through("post_attention_layernorm", norm_2_grads);
  t.Drop(norm_2_grads);
  const auto norm_1_grads = TraceAttentionBackward(widths, t, middle_grads);
  t.Return(t.Through("input_layernorm", norm_1_grads));
  return t.Build();
}

}  // namespace

absl::StatusOr<ModelDescription> MakeLlamaDescription(const LlamaDimensions& given) {
  const LlamaDimensions dimensions = Resolved(given);
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  AddUnits(
      Root(dimensions), dimensions.layers, [&](int64_t index) { return Block(dimensions, index); },
      [&](const UnitDescription& root, const UnitDescription& block) -> StageTraces {
        return {.embedding = EmbeddingTrace(root, "embed_tokens", ""),
                .block = BlockTrace(block, dimensions),
                .head = LanguageHeadTrace(root, "norm",
                                          dimensions.tied_head ? "embed_tokens" : "lm_head")};
      },
      model);
  return model;
}

}  // namespace sotto::layout
